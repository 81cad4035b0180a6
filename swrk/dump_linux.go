//go:build amd64

package swrk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/inject"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// around is a dump around which hooks run.
type around struct {
	specs   []string       // of plugins with a hook around a dump
	plugins []blob.Input   // the same, loaded
	cgroup  freezer.Cgroup // in which criu freezes the tree; "": it does so otherwise
	ran     bool           // hooks of PIE_DMP_PRE_DUMP; those of PIE_DMP_RESUMED have not
	dumped  bool           // by criu, as it says
	thawed  bool           // the cgroup that criu freezes was, when crpie found it

	over  chan struct{} // closed when criu has answered or ended
	letGo chan struct{} // closed when crpie has let go of the processes
	once  sync.Once
}

// findAround finds the plugins that have hooks around a dump, by their objects. nil: none.
func (c *config) findAround() (*around, error) {
	if c.Way == CRIU {
		return nil, nil
	}
	a := &around{over: make(chan struct{}), letGo: make(chan struct{})}
	var errs []error
	for _, spec := range c.Plugins {
		plugin, err := pluginspec.Object(spec, c.trust())
		if err == nil && plugin.AroundDump() {
			a.specs = append(a.specs, spec)
		}
		errs = append(errs, err)
	}
	if err := several.Join(errs...); err != nil || len(a.specs) == 0 {
		return nil, err
	}
	return a, nil
}

// withoutDump leaves out plugins that have hooks around a dump alone: a restore is not theirs. What is wrong with an
// object is said where it is loaded.
func (c *config) withoutDump() {
	if c.Way == CRIU {
		return
	}
	c.Plugins = slices.DeleteFunc(c.Plugins, func(spec string) bool {
		plugin, err := pluginspec.Object(spec, c.trust())
		return err == nil && plugin.OnlyAroundDump()
	})
}

// dump runs the hooks before a dump, has criu dump, and runs those of what goes on afterwards. criu freezes the cgroup
// itself: then the tree, which stood still until then, is let go into it. criu tries again until it gets it, and
// neither the images nor the state in which criu leaves the cgroup tell of the hooks.
func (s *session) dump(ctx context.Context) (status int, err error) {
	kind := s.kind
	request, err := s.rewrite(&pb.CriuReq{Type: &kind, Opts: s.opts})
	if err == nil && len(s.config.Tasks) > 0 {
		err = errors.New("pie-task: only for grafts; write select= behind the plugin")
	}
	if err == nil {
		s.around.plugins, err = pluginspec.Load(s.around.specs, s.config.trust())
	}
	if err == nil {
		err = s.around.find(s.opts)
	}
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	criu := func() {
		defer close(done)
		defer s.around.criuIsOver()
		status, err = s.runCRIU(ctx, request)
	}
	if failed := s.before(ctx, criu); failed != nil {
		return 0, failed
	}
	<-done
	return status, several.Join(err, s.resumed(ctx))
}

// before runs the hooks before a dump and starts criu. An error is one that came before criu has begun.
func (s *session) before(ctx context.Context, criu func()) (err error) {
	a, opts, begun := s.around, s.hooksOf(stage.PreDump), false
	defer close(a.letGo)
	opts.AfterFailure = a.plugins
	begin := func() {
		begun, a.ran = true, true
		go criu()
	}
	if a.thawed = a.cgroup != "" && a.cgroup.Freezable() && !a.cgroup.Frozen(); a.thawed {
		opts.Hold = func(context.Context) error {
			begin()
			a.awaitFrozen()
			return nil
		}
	}
	if len(opts.Plugins) > 0 {
		_, err = inject.Attach(ctx, int(s.opts.GetPid()), true, opts)
	}
	if err == nil && !begun {
		begin()
	}
	if begun && err != nil { // criu has the tree, or says why not
		fmt.Fprintf(s.front.Errors, "crpie: %v\n", escape.Error(err))
		return nil
	}
	return err
}

// find finds the cgroup in which criu freezes the tree. Hooks before the dump need one.
func (a *around) find(opts *pb.CriuOpts) error {
	a.cgroup = freezer.Cgroup(opts.GetFreezeCgroup())
	switch {
	case len(inject.With(a.plugins, stage.PreDump)) == 0:
		return nil
	case a.cgroup == "":
		return errors.New("hooks before a dump: the request names no cgroup that is frozen (freeze_cgroup), so the processes " +
			"would run on between the hooks and the dump\n  hint: crpie try -p PID --stages pre-dump --leave running")
	case !a.cgroup.Freezable():
		return fmt.Errorf("hooks before a dump: %s is no cgroup that can be frozen", a.cgroup)
	}
	return nil
}

// awaitFrozen waits until criu has frozen the cgroup, or is over.
func (a *around) awaitFrozen() {
	for !a.cgroup.Frozen() {
		select {
		case <-a.over:
			return
		case <-time.After(glance):
		}
	}
}

// criuIsOver tells that criu has answered or ended.
func (a *around) criuIsOver() { a.once.Do(func() { close(a.over) }) }

// hooksOf makes the options with which the hooks of a stage run.
func (s *session) hooksOf(at stage.Stage) *inject.Options {
	return &inject.Options{Plugins: inject.With(s.around.plugins, at), Stages: []stage.Stage{at},
		HookTimeout: s.config.HookTimeout, Log: s.log.plugin, LogLevel: report.LogInfo, OwnPids: true}
}

// resumed runs the hooks of what goes on after a dump, before the runtime gets criu's answer.
func (s *session) resumed(ctx context.Context) error {
	if s.around == nil || !s.around.ran || s.around.dumped && !s.opts.GetLeaveRunning() {
		return nil
	}
	s.around.ran = false
	s.around.criuIsOver()
	<-s.around.letGo
	opts := s.hooksOf(stage.Resumed)
	if len(opts.Plugins) == 0 {
		return nil
	}
	if s.around.thawed { // a criu that was killed has left it frozen
		opts.Leave = inject.Running
	}
	if _, err := inject.Attach(context.WithoutCancel(ctx), int(s.opts.GetPid()), true, opts); err != nil {
		return fmt.Errorf("the process goes on after the dump: %w", err)
	}
	return nil
}
