package graft

import (
	"bytes"
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/seccomp"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// checkSeccomp asks the filters of every thread about the calls of the core and of the plugins: they are in force when
// hooks of a graft run.
func (g *grafter) checkSeccomp(tasks []*images.Task) {
	c := seccompCheck{g, seccomp.New(g.dir.Seccomp)}
	filtered := false
	for _, t := range tasks {
		filtered = c.task(t) || filtered
	}
	if filtered {
		g.noteUndeclared()
	}
}

type seccompCheck struct {
	*grafter
	filters *seccomp.Filters
}

// filteredThreads are threads that get the same answers.
type filteredThreads struct {
	filter uint32
	leader bool
}

// task judges threads with the same filters once. It reports whether the task has any.
func (c *seccompCheck) task(t *images.Task) (filtered bool) {
	threads := map[filteredThreads][]uint32{}
	var order []filteredThreads
	for i := range t.Threads {
		tc := t.Threads[i].Core.GetThreadCore()
		if tc.GetSeccompMode() != pb.SeccompMode_filter {
			continue
		}
		key := filteredThreads{tc.GetSeccompFilter(), i == 0}
		if threads[key] == nil {
			order = append(order, key)
		}
		threads[key] = append(threads[key], t.Threads[i].Tid)
	}
	calls := c.callsIn(t)
	for _, key := range order {
		where := threadsOf(t.Pid, threads[key])
		if c.threads(where, key, calls) {
			c.plugins(where, t.Pid, key)
		}
	}
	return len(order) > 0
}

// threadsOf names the first of the threads, and how many there are besides.
func threadsOf(pid uint32, tids []uint32) string {
	where := fmt.Sprintf("task %d thread %d", pid, tids[0])
	if more := len(tids) - 1; more > 0 {
		where += fmt.Sprintf(" (and %d more)", more)
	}
	return where
}

// callsIn are the calls that the core makes in a task.
func (c *seccompCheck) callsIn(t *images.Task) []coreCall {
	return slices.DeleteFunc(coreCalls(), func(call coreCall) bool {
		return call.when != nil && !call.when(c.grafter, t)
	})
}

// threads refuses what the filters deny, and notes what the core does without. It reports whether the filters can be
// understood.
func (c *seccompCheck) threads(where string, key filteredThreads, calls []coreCall) bool {
	var denied, missing []string
	for _, call := range calls {
		if call.leader && !key.leader {
			continue
		}
		sys := seccomp.Call{Nr: call.nr}
		copy(sys.Args[:], call.args)
		answer, err := c.filters.Answer(key.filter, sys)
		if err != nil {
			c.refuse(where, "", "%v", err)
			return false
		}
		text := fmt.Sprintf("%s: %v", call.name, answer)
		switch {
		case answer.Permits():
		case answer.Fails() && call.without != "":
			missing = addOnce(missing, text+", so "+call.without)
		default:
			denied = addOnce(denied, text)
		}
	}
	for _, m := range missing {
		c.note("%s: its seccomp filters answer %s", where, m)
	}
	c.deny(where, "the graft's core", denied)
	return true
}

// plugins asks about the calls that the plugins of a task declare. Only some of them have hooks for every thread.
func (c *seccompCheck) plugins(where string, pid uint32, key filteredThreads) {
	for i, p := range c.opts.Plugins {
		if c.runsIn[i][pid] && (key.leader || hooksThreads(p.Plugin)) {
			c.declared(where, "plugin "+c.labels[i], key, p.Plugin.Syscalls.Numbers)
		}
	}
}

func hooksThreads(p *loader.Plugin) bool {
	return slices.ContainsFunc(p.Hooks, func(h loader.Hook) bool { return h.ID == stage.PreSigreturnThread })
}

// declared refuses calls to which no arguments make the filters agree. Those that depend on arguments are a note: the
// object does not say which arguments it gives.
func (c *seccompCheck) declared(where, plugin string, key filteredThreads, numbers []uint32) {
	var denied, depend []string
	for _, nr := range numbers {
		bounds, err := c.filters.Bounds(key.filter, seccomp.Call{Nr: nr})
		if err != nil {
			return // the core's calls have said so
		}
		text := fmt.Sprintf("%s: %v", seccomp.CallName(elf.EM_X86_64, nr), bounds.Worst)
		switch {
		case bounds.Worst.Permits():
		case bounds.Best.Permits():
			depend = append(depend, text)
		default:
			denied = append(denied, text)
		}
	}
	if len(depend) > 0 {
		c.note("%s: its seccomp filters permit %s some calls by their arguments only, and may answer %s", where, plugin,
			strings.Join(depend, ", "))
	}
	c.deny(where, plugin, denied)
}

// deny refuses a task whose filters would kill the graft's calls or plugins, or notes it if the user takes the risk.
func (c *seccompCheck) deny(where, whom string, denied []string) {
	switch {
	case len(denied) == 0:
	case c.opts.AllowSeccomp:
		c.note("%s: its seccomp filters deny %s %s", where, whom, strings.Join(denied, ", "))
	default:
		c.refuse(where, "use crpie restore, which holds filters back until the hooks are done; "+
			"or, if this cannot come to pass, --allow-seccomp",
			"its seccomp filters deny %s %s", whom, strings.Join(denied, ", "))
	}
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (g *grafter) note(format string, args ...any) {
	g.plan.Notes = append(g.plan.Notes, fmt.Sprintf(format, args...))
}

// noteUndeclared names the plugins that do not declare their system calls, or not all.
func (g *grafter) noteUndeclared() {
	for i, p := range g.opts.Plugins {
		switch calls := p.Plugin.Syscalls; {
		case calls.Computed:
			g.note("plugin %s computes numbers of system calls: whether the tasks' seccomp filters permit them is not known",
				g.labels[i])
		case callsIn(p.Plugin) > p.Plugin.DeclaredPlaces:
			g.note("plugin %s makes system calls that its object does not name: "+
				"whether the tasks' seccomp filters permit them is not known", g.labels[i])
		}
	}
}

// callsIn counts what may be syscall instructions, 0F 05, in the code of a plugin.
func callsIn(p *loader.Plugin) (n int) {
	for _, s := range p.Sections {
		if s.Segment() == loader.Text {
			n += bytes.Count(s.Data, []byte{0x0f, 0x05})
		}
	}
	return n
}
