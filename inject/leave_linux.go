//go:build amd64

package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// thaw thaws the processes if their cgroup is frozen: nothing of them could run otherwise. Before, it tells each of
// their threads to stop: then none makes a step of its own.
func (s *session) thaw(root sys.PID, tree bool) error {
	c, err := freezer.Of(int(root))
	switch {
	case err != nil || !c.Frozen():
		return nil // it is not frozen, or has ended
	case s.opts.Rehearse:
		return fmt.Errorf("try process %d: its cgroup %s is frozen, and its copy would be", root, c)
	}
	pids := []sys.PID{root}
	for i := 0; tree && i < len(pids); i++ {
		pids = append(pids, sys.Children(pids[i])...)
	}
	levels := c.Asked()
	for _, level := range levels {
		if err := s.onlyThese(level, pids); err != nil {
			return err
		}
	}
	for _, pid := range pids {
		if err := s.seizeFrozen(pid); err != nil {
			return err
		}
	}
	for _, level := range slices.Backward(levels) {
		s.frozen = append(s.frozen, level)
		if err := level.Thaw(); err != nil {
			return fmt.Errorf("try process %d: %w", root, err)
		}
	}
	return nil
}

// seizeFrozen tells the threads of a process to stop, which they do when they are thawed.
func (s *session) seizeFrozen(pid sys.PID) error {
	p := &target{session: s, pid: pid}
	for _, tid := range sys.Threads(pid) {
		err := sys.Seize(tid, 0)
		if err == nil {
			err = sys.Interrupt(tid)
		}
		switch {
		case err == nil:
			s.seized[tid] = true
		case !p.ending(tid):
			return p.problem("%s", p.whyNotSeized(tid, err))
		}
	}
	return nil
}

// onlyThese reports a process of a cgroup that is not among some: it would be frozen or thawed with them.
func (s *session) onlyThese(c freezer.Cgroup, pids []sys.PID) error {
	all, err := c.Processes()
	if err != nil {
		return fmt.Errorf("try: cgroup %s: %w", c, err)
	}
	for _, pid := range all {
		if !slices.Contains(pids, sys.PID(pid)) {
			return fmt.Errorf("try: cgroup %s has process %d, too, which is not one of those that are stopped: it would be "+
				"frozen or thawed with them; give --tree, or move it away", c, pid)
		}
	}
	return nil
}

// findFreezer finds the cgroup in which all processes are to stand afterwards, before anything is done.
func (s *session) findFreezer() error {
	if s.opts.Leave != Frozen {
		return nil
	}
	var pids []sys.PID
	var numbers []int
	for _, p := range s.targets {
		pids, numbers = append(pids, p.pid), append(numbers, int(p.pid))
	}
	c, err := freezer.Of(numbers...)
	fresh := len(s.frozen) == 0
	switch {
	case err != nil:
	case fresh:
		err = s.onlyThese(c, pids)
	default:
		c, err = s.standIn(c)
	}
	if err != nil {
		return fmt.Errorf("%w; --leave running lets them go on, --leave stopped stops them with SIGSTOP", err)
	}
	if s.stand = c; fresh {
		s.freezer = c
	}
	return nil
}

// standIn finds the lowest cgroup that was frozen and has all processes, which are in c: a child can be elsewhere than
// the process of which the cgroup was thawed.
func (s *session) standIn(c freezer.Cgroup) (freezer.Cgroup, error) {
	for _, frozen := range slices.Backward(s.frozen) {
		if c.Within(frozen) {
			return frozen, nil
		}
	}
	return "", fmt.Errorf("try: cgroup %s was frozen, but not all processes are in it", s.frozen[len(s.frozen)-1])
}

// leave brings the processes, which all stand, into the state in which they are to be found.
func (s *session) leave() error {
	if s.opts.Hold != nil {
		if err := s.opts.Hold(s.ctx); err != nil {
			return err
		}
		s.held = true
	}
	switch {
	case s.opts.Leave == Stopped:
		for _, p := range s.targets {
			p.stop = true
		}
	case s.opts.Leave == Frozen:
		if s.freezer != "" {
			s.frozen = append(s.frozen, s.freezer)
		}
		s.note("cgroup %s is frozen, with all processes; criu dump takes it as --freeze-cgroup %[1]s", s.stand)
	}
	return nil
}

// freezeAgain freezes what was frozen, the highest cgroup last: it was thawed first.
func (s *session) freezeAgain(failed error) error {
	if s.opts.Leave == Running && failed == nil {
		return nil
	}
	var errs []error
	for _, c := range slices.Backward(s.frozen) {
		if err := c.Freeze(s.stopTimeout()); err != nil {
			errs = append(errs, fmt.Errorf("try: %w", err))
		}
	}
	return errors.Join(errs...)
}

// note adds a line to the report of the first process.
func (s *session) note(format string, args ...any) {
	s.report.Processes[0].Notes = append(s.report.Processes[0].Notes, fmt.Sprintf(format, args...))
}

// resume runs the hooks of PIE_DMP_RESUMED when those of PIE_DMP_PRE_DUMP have failed: there will be no dump.
func (s *session) resume(pid int, tree bool) error {
	opts := *s.opts
	opts.Stages, opts.Leave, opts.Hold, opts.Pause = []stage.Stage{stage.Resumed}, AsFound, nil, nil
	if s.freezer != "" {
		opts.Leave = Running
	}
	if opts.AfterFailure != nil {
		opts.Plugins = opts.AfterFailure
	}
	opts.Plugins = With(opts.Plugins, stage.Resumed)
	begun := func(p *Process) bool { return len(p.Calls) > 0 }
	if len(opts.Plugins) == 0 || !slices.ContainsFunc(s.report.Processes, begun) {
		return nil
	}
	done, err := Attach(context.WithoutCancel(s.ctx), pid, tree, &opts)
	if done != nil {
		s.report.Processes = append(s.report.Processes, done.Processes...)
	}
	return err
}

// With keeps the plugins that have a hook of a stage.
func With(plugins []blob.Input, at stage.Stage) []blob.Input {
	return slices.DeleteFunc(slices.Clone(plugins), func(in blob.Input) bool {
		return !slices.ContainsFunc(in.Plugin.Hooks, func(h loader.Hook) bool { return h.ID == at })
	})
}
