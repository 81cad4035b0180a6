//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Logs and pidfiles are for their owner alone: they tell of what root restores. A relative name lies beside images,
// which another user may have written: there no symbolic link is followed.

// openLog makes a log or empties it; more goes on with one. One that is a FIFO must have a reader: nothing waits for
// one.
func openLog(name string, beside, more bool) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | syscall.O_NONBLOCK
	if !more {
		flags |= os.O_TRUNC
	}
	if beside {
		flags |= syscall.O_NOFOLLOW
	}
	f, err := os.OpenFile(name, flags, 0o600)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, fmt.Errorf("log: %w\n  hint: it is a symbolic link, which is followed only if the log's name begins with /", err)
	case errors.Is(err, syscall.ENXIO):
		return nil, fmt.Errorf("log: %w\n  hint: it is a FIFO that nobody reads, or a socket", err)
	case err != nil:
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

// pidfile is where the pid of the restored process will be; the zero value is nowhere.
type pidfile struct {
	name    string
	written bool
}

// check refuses a name that is taken, as long as nothing has been done yet.
func (p *pidfile) check() error {
	if p.name == "" {
		return nil
	}
	if _, err := os.Lstat(p.name); err == nil {
		return p.taken()
	}
	if _, err := os.Stat(filepath.Dir(p.name)); err != nil {
		return fmt.Errorf("pidfile: %w", err)
	}
	return nil
}

func (p *pidfile) taken() error {
	return fmt.Errorf("pidfile: open %s: %w\n  hint: remove it: crpie, as criu, does not write over a file",
		p.name, fs.ErrExist)
}

// write makes the file, which must be new, so that no link in its place is followed, open(2) O_EXCL. One that cannot
// be completed is removed.
func (p *pidfile) write(root int) error {
	if p.name == "" {
		return nil
	}
	f, err := os.OpenFile(p.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return p.taken()
	}
	if err != nil {
		return fmt.Errorf("pidfile: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(root))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("pidfile: %w", err), os.Remove(p.name))
	}
	p.written = true
	return nil
}

// discard removes what was written for a restore that failed after all.
func (p *pidfile) discard() error {
	if !p.written {
		return nil
	}
	return os.Remove(p.name)
}
