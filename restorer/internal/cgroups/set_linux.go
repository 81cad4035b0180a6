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
// together. A mark on the cgroup says that nobody has finished it. Who makes it has a lock, flock(2), on its
// cgroup.procs, which ends with the process; only who has it alone may remove the cgroup. So a mark without a lock was
// left by a restore that was killed, in whatever pid namespace that was.
type Set struct{ all []member }

type member struct {
	path   string
	procs  *os.File // locked
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
	return alone(path, func() error {
		made := os.Mkdir(path, 0o755)
		if made != nil && !(os.IsExist(made) && sys.Unfinished(path)) {
			return made
		}
		procs, err := hold(path)
		if err != nil && made == nil {
			return several.Join(err, os.Remove(path))
		} else if err != nil {
			return err
		}
		s.all = append(s.all, member{path, procs, made != nil || sys.MarkUnfinished(path)})
		return nil
	})
}

// alone does something with a cgroup while no other restore makes or removes one beside it.
func alone(path string, do func() error) error {
	above, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer above.Close()
	if err := sys.LockAlone(above, true); err != nil {
		return fmt.Errorf("lock %s: %w", above.Name(), err)
	}
	return do()
}

func hold(path string) (*os.File, error) {
	procs, err := os.Open(filepath.Join(path, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	if err := sys.Lock(procs); err != nil {
		procs.Close()
		return nil, fmt.Errorf("lock %s: %w", procs.Name(), err)
	}
	return procs, nil
}

// Keep says that the cgroups are finished, and the tasks'.
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
	for _, m := range slices.Backward(s.all) {
		if err := patiently(func() error { return alone(m.path, m.remove) }); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
		m.procs.Close()
	}
	s.all = nil
	return several.Join(errs...)
}

func (m member) remove() error {
	err := sys.LockAlone(m.procs, false)
	if errors.Is(err, unix.EWOULDBLOCK) || err == nil && m.marked && !sys.Unfinished(m.path) {
		return nil
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", m.procs.Name(), err)
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
