//go:build amd64

package mnt

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
)

// Facts has a host answer for files as the tasks will see them: in the tree that Make has made.
func (p *Plan) Facts(h *host.Host) {
	outside, complete := h.Stat, p.Problems().Len() == 0
	h.Stat = func(name string) (fs.FileInfo, error) {
		if strings.HasPrefix(name, "/proc/self/fd/") { // a descriptor that is passed to the tasks
			return outside(name)
		}
		return p.stat(name, 0)
	}
	h.Lstat = func(name string) (fs.FileInfo, error) { return p.stat(name, unix.O_NOFOLLOW) }
	h.ReadFileAt = p.readFileAt
	h.MountOfHandle = func(major, minor uint32, handle []byte) string {
		point := p.mountOfHandle(major, minor, handle)
		if point == "" && !complete {
			return "/" // it may be on a mount that is missing
		}
		return point
	}
	abstract := h.UnixName
	h.UnixName = func(name string) bool {
		if strings.HasPrefix(name, "\x00") {
			return abstract(name)
		}
		here, done := p.Here(name)
		defer done()
		return sys.UnixAlive(here)
	}
}

// open opens a path without leaving the tree, whatever its symbolic links say. Mounts that the first process will
// attach are not in their places yet.
func (p *Plan) open(name string, flags uint64) (*os.File, error) {
	at, below := p.visible(name)
	if !at.seen() {
		return nil, host.ErrUnseen
	}
	m, rest := p.root(), strings.TrimPrefix(name, "/")
	if at.attachedLate {
		m, rest = at, below
	}
	if rest == "" {
		rest = "."
	}
	f, err := sys.OpenIn(m.handle.mount, rest, unix.O_PATH|flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: sys.WithoutPath(err)}
	}
	return f, nil
}

func (p *Plan) stat(name string, flags uint64) (fs.FileInfo, error) {
	f, err := p.open(name, flags)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// throughFD is a path for what a descriptor is open for.
func throughFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// readFileAt reads from a regular file of the new tree, which is attached nowhere yet. O_PATH finds it without opening
// it; the way through /proc/self/fd opens it.
func (p *Plan) readFileAt(name string, b []byte, off int64) (int, error) {
	f, err := p.open(name, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, host.NotRegular(name)
	}
	data, err := os.OpenFile(throughFD(f), os.O_RDONLY|unix.O_NONBLOCK, 0) // what has that name must not block
	if err != nil {
		return 0, err
	}
	defer data.Close()
	return data.ReadAt(b, off)
}

// mountOfHandle looks at the mounts whose file system is on that device; those that were made anew have others.
func (p *Plan) mountOfHandle(major, minor uint32, handle []byte) string {
	for _, m := range p.mounts {
		var st unix.Stat_t
		if m.attachedLate || !m.seen() || unix.Fstat(int(m.handle.mount.Fd()), &st) != nil ||
			unix.Major(st.Dev) != major || unix.Minor(st.Dev) != minor {
			continue
		}
		if at, _ := p.visible(m.point()); at == m && sys.HasHandle(throughFD(m.handle.mount), handle) {
			return m.point()
		}
	}
	return ""
}

// Here gives a path by which the controller reaches what has a path in the tree: its last element is not followed.
// done ends its use.
func (p *Plan) Here(name string) (here string, done func()) {
	dir, err := p.open(path.Dir(name), unix.O_DIRECTORY)
	if err != nil {
		return "", func() {}
	}
	return path.Join(throughFD(dir), path.Base(name)), func() { dir.Close() }
}
