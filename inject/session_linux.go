//go:build amd64

package inject

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/stage"
)

// session is one Spawn or Attach, on its OS thread.
type session struct {
	ctx     context.Context
	opts    *Options
	layout  *blob.Layout
	xsave   sys.Xsave
	targets []*target // a parent before its children
	report  *Report

	formatter *uapi.CallFormatter // of a trace

	frozen  []freezer.Cgroup // that were so when it began, the highest first
	freezer freezer.Cgroup   // that is to be frozen at the end; "": none
	stand   freezer.Cgroup   // that has all processes, and is frozen at the end; "": none
	seized  map[sys.PID]bool // threads that were told to stop while they were frozen
	held    bool             // whoever takes the processes over has them
}

// asTracer carries f out on an OS thread of its own, which ends before it returns: whoever the thread still traces has
// gone on then, or has died with PTRACE_O_EXITKILL, ptrace(2). patience bounds how long it waits for that end.
func asTracer(patience time.Duration, f func() error) (err error) {
	tid := 0
	sys.Apart(func() {
		tid = unix.Gettid()
		err = f()
	})
	awaitEnd(tid, patience)
	return err
}

// awaitEnd waits until the kernel knows a thread of this process no longer. It lets go of the threads it traces before
// that, kernel/exit.c exit_notify.
func awaitEnd(tid int, patience time.Duration) {
	const nap = 50 * time.Microsecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(nap) {
		if errors.Is(unix.Tgkill(unix.Getpid(), tid, 0), unix.ESRCH) {
			return
		}
	}
}

// newSession lays the blob out, so that a plugin that does not fit is known before a process is touched.
func newSession(ctx context.Context, opts *Options) (*session, error) {
	layout, err := layBlob(opts.Plugins)
	if err == nil {
		err = checkStages(opts.Plugins, opts.Stages)
	}
	if err == nil && opts.Pause != nil {
		err = checkPause(opts)
	}
	if err != nil {
		return nil, err
	}
	return &session{ctx: ctx, opts: opts, layout: layout, xsave: sys.XsaveLayout(), report: &Report{},
		seized: map[sys.PID]bool{}}, nil
}

func (s *session) stopTimeout() time.Duration { return cmp.Or(s.opts.StopTimeout, DefaultStopTimeout) }

// stopBy is when a thread that is asked to stop now has to have stopped.
func (s *session) stopBy() time.Time {
	return time.Now().Add(s.stopTimeout())
}

// inject runs the hooks in every target, which are stopped.
func (s *session) inject() error {
	var processes []process
	for _, p := range s.targets {
		if err := p.look(); err != nil {
			return err
		}
		processes = append(processes, p.self)
	}
	if err := checkSelectors(s.opts.Plugins, processes); err != nil {
		return err
	}
	if err := s.findFreezer(); err != nil {
		return err
	}
	if s.opts.Rehearse {
		return s.startRehearsals()
	}
	for _, p := range s.targets {
		if err := p.run(); err != nil {
			return err
		}
	}
	return nil
}

// cure takes everything out of every target again.
func (s *session) cure() error {
	var errs []error
	for _, p := range s.targets {
		errs = append(errs, p.cure())
	}
	return errors.Join(errs...)
}

// release lets every target go on.
func (s *session) release() error {
	var errs []error
	for _, p := range s.targets {
		errs = append(errs, p.release())
	}
	return errors.Join(errs...)
}

// Attach runs the hooks in a process that runs, and with tree in all its descendants. When it returns they go on, or
// are as opts.Leave has it. If it fails at PIE_DMP_PRE_DUMP, it has run the hooks of PIE_DMP_RESUMED.
func Attach(ctx context.Context, pid int, tree bool, opts *Options) (*Report, error) {
	s, err := newSession(ctx, opts)
	if err != nil {
		return nil, err
	}
	err = asTracer(s.stopTimeout(), func() error { return s.attach(sys.PID(pid), tree) })
	if err != nil && slices.Contains(opts.Stages, stage.PreDump) && !opts.Rehearse && !s.held {
		err = several.Join(err, s.resume(pid, tree))
	}
	return s.report, err
}

// attach stops, injects, heals and lets go. Healing and letting go happen whatever failed before.
func (s *session) attach(pid sys.PID, tree bool) error {
	if s.opts.Hold == nil && s.opts.Pause == nil { // which last as long as others like
		defer withoutCollection()()
	}
	err := s.thaw(pid, tree)
	if err == nil {
		err = s.stopAll(pid, tree)
	}
	if err == nil {
		err = s.inject()
	}
	err = errors.Join(err, s.cure())
	if err == nil {
		err = s.leave()
	}
	err = errors.Join(err, s.freezeAgain(err), s.release())
	if err != nil && s.freezer != "" {
		err = errors.Join(err, s.freezer.Thaw())
	}
	if s.opts.Rehearse {
		err = s.rehearse(err)
	}
	s.describe()
	return err
}

// stopAll stops the processes, parents first: a child of a stopped process has no new siblings.
func (s *session) stopAll(root sys.PID, tree bool) error {
	for pids := []sys.PID{root}; len(pids) > 0; pids = pids[1:] {
		p := &target{session: s, pid: pids[0], root: pids[0] == root, ahead: s.lookAhead(pids[0])}
		gone, err := p.seize()
		if err != nil {
			return err
		}
		if gone && p.root {
			return fmt.Errorf("try process %d: it has ended", root)
		}
		if gone {
			continue
		}
		if tree {
			pids = append(pids, sys.Children(p.pid)...)
		}
	}
	return nil
}
