//go:build amd64

package inject

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// openFile is a file or directory that a process has open for reading.
type openFile struct {
	fds   []int
	flags []uint64 // of each descriptor, O_CLOEXEC among them
	pos   uint64
}

// ownPositions gives a copy positions of its own in what it only reads: fork(2) lets both have one. A file that is
// written to keeps the common one, lest what the copy writes come to lie where the program writes. Neither does what
// cannot be opened again.
func (p *target) ownPositions() error {
	if !p.copy {
		return nil
	}
	for _, f := range p.filesRead() {
		if err := p.openAgain(f); err != nil {
			return err
		}
	}
	return nil
}

// filesRead lists them; descriptors that are one open file are together, as dup(2) has made them.
func (p *target) filesRead() (all []*openFile) {
	dir := fmt.Sprintf("/proc/%d/fd", p.pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		info, err := os.Stat(dir + "/" + e.Name())
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.pid, fd))
		s := parseStatus(string(text))
		flags, _ := strconv.ParseUint(s["flags"], 8, 32)
		pos, _ := strconv.ParseUint(s["pos"], 10, 64)
		if flags&(unix.O_ACCMODE|unix.O_PATH) != unix.O_RDONLY {
			continue
		}
		same := slices.IndexFunc(all, func(f *openFile) bool { return sys.SameFile(p.pid, f.fds[0], fd) })
		if same < 0 {
			all = append(all, &openFile{pos: pos})
			same = len(all) - 1
		}
		all[same].fds, all[same].flags = append(all[same].fds, fd), append(all[same].flags, flags)
	}
	return all
}

// openAgain opens a file anew, if it can be: /proc may not be there, or its mode may forbid it by now.
func (p *target) openAgain(f *openFile) error {
	path := fmt.Sprintf("/proc/self/fd/%d\x00", f.fds[0])
	if err := p.mem.Write(p.region.arena, []byte(path)); err != nil {
		return p.problem("%w", err)
	}
	t := p.threads[0]
	const here = -unix.AT_FDCWD
	fd, err := p.ask(t, unix.SYS_OPENAT, negative(here), p.region.arena, f.flags[0]|unix.O_CLOEXEC)
	if err != nil || fd < 0 {
		return err
	}
	at, err := p.ask(t, unix.SYS_LSEEK, uint64(fd), f.pos, unix.SEEK_SET)
	for i := 0; err == nil && at >= 0 && i < len(f.fds); i++ {
		_, err = p.ask(t, unix.SYS_DUP3, uint64(fd), uint64(f.fds[i]), f.flags[i]&unix.O_CLOEXEC)
	}
	if err == nil {
		_, err = p.ask(t, unix.SYS_CLOSE, uint64(fd))
	}
	return err
}
