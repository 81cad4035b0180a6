// Package trust tells whether a file may decide what runs inside a process.
package trust

import (
	"fmt"
	"io/fs"
	"slices"
)

// Rule accepts files that no other user could have written. The zero Rule is in force.
type Rule struct {
	Untrusted bool   // anybody's files are accepted
	Option    string // that says so, for the hint; empty: there is none
}

// Check refuses a file or directory that another user owns or can write. In a directory with the sticky bit others can
// make files, which are refused by themselves, and replace none (chmod(2)). A user's own group may write: many systems
// give each user a group of the same number, and let it.
func (r Rule) Check(info fs.FileInfo) error {
	if r.Untrusted {
		return nil
	}
	o, ok := ownerOf(info)
	if !ok {
		return nil // a file system without owners
	}
	users := users()
	mode := info.Mode()
	shared := mode.Perm()&0o002 != 0 || mode.Perm()&0o020 != 0 && !slices.Contains(users, o.gid)
	switch {
	case !slices.Contains(users, o.uid):
		return r.refuse(fmt.Sprintf("belongs to user %d", o.uid), "chown it to root")
	case shared && (!mode.IsDir() || mode&fs.ModeSticky == 0):
		return r.refuse(fmt.Sprintf("mode %#o lets others write it", mode.Perm()), "chmod go-w")
	}
	return nil
}

// CheckNamed is Check, with the file's name before what is wrong.
func (r Rule) CheckNamed(name string, info fs.FileInfo) error {
	if err := r.Check(info); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// refuse says what is wrong with a file, and the ways out. It is one line: names of files and entries come before it.
func (r Rule) refuse(why, way string) error {
	if r.Option != "" {
		way += ", or say " + r.Option
	}
	return fmt.Errorf("%s, whose code or settings would run with crpie's rights: look at it and %s", why, way)
}

// owner is whose a file is, by number.
type owner struct{ uid, gid uint32 }
