//go:build amd64

package run

import (
	"errors"
	"fmt"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// A plan whose tasks keep their numbers in a new pid namespace (--new-pids) needs a process that is the first there:
// restorer/core/src/init.c. It comes before this process collects orphans, and so is no child of its own; it ends with
// the restore if that fails, and otherwise when it has become the only process there.

// firstAt is where its program is mapped: anywhere above vm.mmap_min_addr.
const firstAt = 0x400000

// startFirst makes the pid namespace.
func (r *Runner) startFirst() error {
	if !r.Plan.First {
		return nil
	}
	f, path, err := sys.Program("crpie-init", executable(r.First, firstAt))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	r.first, err = sys.StartFirst(path)
	if err != nil {
		return fmt.Errorf("restore: first process of the new pid namespace: %w", err)
	}
	return nil
}

// checkFirst finds that somebody has killed it: the kernel kills everything in the namespace then.
func (r *Runner) checkFirst() error {
	if r.first != nil && r.first.Ended(0) {
		return errFirstEnded
	}
	return nil
}

var errFirstEnded = errors.New("restore: the first process of the new pid namespace has been killed")

// releaseFirst lets it outlive the restore. All tasks are traced: should this process end now, they end with it.
func (r *Runner) releaseFirst() error {
	if r.first == nil {
		return nil
	}
	if err := r.first.Release(r.Plan.Tasks[0].Pid); err != nil {
		return several.Join(errFirstEnded, err)
	}
	return nil
}

// FirstProcess gives that process after a restore; the caller closes it. nil: there is none.
func (r *Runner) FirstProcess() *sys.First { return r.first }

// killFirst kills everything in the namespace.
func (r *Runner) killFirst() error {
	if r.first == nil {
		return nil
	}
	return r.first.Kill()
}

// awaitFirst waits until nothing is left of the namespace. A sibling that has been killed waits for its parent to
// collect it, who may be waiting for this process.
func (r *Runner) awaitFirst() error {
	if r.first == nil || r.Plan.Sibling {
		return nil
	}
	return r.first.AwaitEnd()
}
