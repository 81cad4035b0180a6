//go:build linux && amd64

package inject

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// aroundDump reports whether the chosen stages are around a dump.
func aroundDump(stages []stage.Stage) bool { return slices.ContainsFunc(stages, stage.Stage.OfDump) }

// checkStages says which plugins have hooks, but none in the stages that were chosen: they would do nothing.
func checkStages(plugins []blob.Input, stages []stage.Stage) error {
	if len(stages) > 1 && aroundDump(stages) {
		return fmt.Errorf("try: stage %s is not run together with others", stages[slices.IndexFunc(stages,
			stage.Stage.OfDump)])
	}
	var errs []error
	for i, label := range blob.Labels(plugins) {
		hooks := plugins[i].Plugin.Hooks
		runs := func(h loader.Hook) bool { return chosen(stages, h.ID) }
		if len(hooks) == 0 || slices.ContainsFunc(hooks, runs) {
			continue
		}
		var has []string
		for _, h := range hooks {
			has = append(has, h.ID.String())
		}
		slices.Sort(has)
		which := "in the stages that --stages names"
		if len(stages) == 0 {
			which = "of a restore"
		}
		errs = append(errs, fmt.Errorf("try: plugin %s has no hook %s; it has some in %s, for --stages",
			escape.Name(label), which, strings.Join(slices.Compact(has), ", ")))
	}
	return several.Join(errs...)
}

// checkPause reports a point at which nothing would wait.
func checkPause(opts *Options) error {
	if at := opts.Pause.At.Stage; !chosen(opts.Stages, at) {
		return fmt.Errorf("pause at %s: --stages leaves that stage out", at)
	}
	return opts.Pause.At.Check(opts.Plugins)
}

// process is a process as selectors see it.
type process struct {
	pid  sys.PID
	comm string
	root bool
}

func (p process) picked(s blob.Selector) bool { return s.Picks(uint32(p.pid), p.comm, p.root) }

// checkSelectors says which selectors pick no process: their plugins would do nothing.
func checkSelectors(plugins []blob.Input, processes []process) error {
	var errs []error
	for i, label := range blob.Labels(plugins) {
		for _, s := range plugins[i].Tasks {
			if slices.ContainsFunc(processes, func(p process) bool { return p.picked(s) }) {
				continue
			}
			errs = append(errs, fmt.Errorf("try: plugin %s: select=%s picks no process; there are %s", escape.Name(label), s,
				list(processes)))
		}
	}
	return several.Join(errs...)
}

// list names processes, so that the user can choose one.
func list(processes []process) string {
	const longest = 20
	var names []string
	for _, p := range processes[:min(longest, len(processes))] {
		names = append(names, fmt.Sprintf("%d %q", p.pid, escape.Name(p.comm)))
	}
	if more := len(processes) - longest; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
