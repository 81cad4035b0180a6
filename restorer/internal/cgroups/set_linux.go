package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// A Set has the cgroups that a restore makes, until they are the tasks' or removed. Several restores can be making one
// together. A mark on the cgroup says that nobody has finished it. Who makes it holds its cgroup.procs, by a lock that
// ends with the process and that takes the right to write there; the last one removes the cgroup. So a mark without a
// holder was left by a restore that was killed, in whatever pid namespace that was.
type Set struct{ all []member }

type member struct {
	path   string
	procs  *os.File // held
	marked bool     // some file systems have no extended attributes
}

// Has reports whether the set has a cgroup.
func (s *Set) Has(path string) bool {
	return slices.ContainsFunc(s.all, func(m member) bool { return m.path == path })
}

// Make makes a cgroup, or joins another restore in making it. One that is finished is an error.
func (s *Set) Make(path string) error {
	if s.Has(path) {
		return nil
	}
	end := time.Now().Add(lockTime)
	return alone(path, end, func() error {
		made := os.Mkdir(path, 0o755)
		if made != nil && !(os.IsExist(made) && sys.Unfinished(path)) {
			return made
		}
		procs, err := hold(path, end)
		if err != nil && made == nil {
			return several.Join(err, os.Remove(path))
		} else if err != nil {
			return err
		}
		s.all = append(s.all, member{path, procs, made != nil || sys.MarkUnfinished(path)})
		return nil
	})
}

// alone does something with a cgroup while no other restore makes or removes one beside it. It waits for that until
// end.
func alone(path string, end time.Time, do func() error) error {
	above, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer above.Close()
	if err := await(end, above, sys.TryLock); err != nil {
		return err
	}
	return do()
}

func hold(path string, end time.Time) (*os.File, error) {
	procs, err := os.OpenFile(filepath.Join(path, "cgroup.procs"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := await(end, procs, sys.Hold); err != nil {
		procs.Close()
		return nil, err
	}
	return procs, nil
}

// lockTime is how long somebody else's lock is waited for. Restores have theirs for milliseconds, but whoever can read
// a file can lock it, for ever. A test sets a shorter time.
var lockTime = 10 * time.Second

// await locks a file as soon as nobody else has it locked; after end it gives up.
func await(end time.Time, f *os.File, lock func(*os.File) error) error {
	for {
		err := lock(f)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(end):
			return fmt.Errorf("lock %s: another process keeps it locked: end that one (lslocks shows it), and try again",
				f.Name())
		}
		time.Sleep(time.Millisecond)
	}
}

// Keep says that the cgroups are finished, and the tasks'. The next Remove does nothing.
func (s *Set) Keep() {
	for _, m := range s.all {
		sys.MarkFinished(m.path)
		m.procs.Close()
	}
	s.all = nil
}

// Remove removes the cgroups, but not those that another restore makes as well, or has finished. The next Remove does
// nothing.
func (s *Set) Remove() error {
	var errs []error
	end := time.Now().Add(lockTime)
	for _, m := range slices.Backward(s.all) {
		if err := patiently(func() error { return alone(m.path, end, m.remove) }); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
		m.procs.Close()
	}
	s.all = nil
	return several.Join(errs...)
}

func (m member) remove() error {
	others, err := sys.HeldByOthers(m.procs)
	if err != nil {
		return fmt.Errorf("look at the locks of %s: %w", m.procs.Name(), err)
	}
	if others || m.marked && !sys.Unfinished(m.path) {
		return nil
	}
	return os.Remove(m.path)
}

// Patience is how long a cgroup may be busy after the last of its tasks has been waited for: from Linux 6.19 on the
// kernel takes a dead task out of its cgroup a little later.
const Patience = 2 * time.Second

func patiently(remove func() error) error {
	err := remove()
	for end := time.Now().Add(Patience); errors.Is(err, unix.EBUSY) && time.Now().Before(end); err = remove() {
		time.Sleep(time.Millisecond)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
