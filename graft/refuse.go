package graft

import (
	"fmt"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"

	"github.com/crpie/crpie/images"
)

// Refusal lists everything because of which images cannot be grafted. Nothing has been written.
type Refusal struct {
	Problems []Problem
}

// Problem is one reason.
type Problem struct {
	Where string // "task 12 thread 13"
	What  string // the reason
	Fix   string // what to do about it; may be empty
}

func (p Problem) String() string {
	s := p.Where + ": " + p.What
	if p.Fix != "" {
		s += "\n  hint: " + p.Fix
	}
	return s
}

func (r *Refusal) Error() string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return "cannot graft: " + lines[0]
	}
	return fmt.Sprintf("cannot graft, for %d reasons:\n%s", len(lines), strings.Join(lines, "\n"))
}

// problems collects; nothing stops at the first one.
type problems struct{ list []Problem }

func (p *problems) refuse(where, fix, format string, args ...any) {
	p.list = append(p.list, Problem{where, fmt.Sprintf(format, args...), fix})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Refusal{p.list}
}

// checkTask refuses what the core could not bring back exactly.
func (g *grafter) checkTask(t *images.Task) {
	where := fmt.Sprintf("task %d", t.Pid)
	if t.Dead() {
		g.refuse(where, "", "it was dead when it was dumped")
		return
	}
	for _, other := range g.dir.Tasks {
		if other != t && !other.Dead() && t.Ids != nil && t.Ids.GetVmId() == other.Ids.GetVmId() {
			g.refuse(where, "", "it shares its memory with task %d: not supported", other.Pid)
		}
	}
	for i := range t.Threads {
		g.checkThread(fmt.Sprintf("%s thread %d", where, t.Threads[i].Tid), t.Threads[i].Core)
	}
}

func (g *grafter) checkThread(where string, c *criu_core.CoreEntry) {
	info := c.GetThreadInfo()
	if c.GetMtype() != criu_core.CoreEntry_X86_64 || info == nil {
		g.refuse(where, "", "machine %v: only x86-64 tasks can be grafted", c.GetMtype())
		return
	}
	if info.GetGpregs().GetMode().String() == "COMPAT" {
		g.refuse(where, "", "32-bit (compat) task: not supported")
	}
	if info.GetFpregs().GetXsave().GetCet().GetSsp() != 0 {
		g.refuse(where, "run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off before dumping",
			"user shadow stack: not supported")
	}
	if c.GetThreadCore().GetRseqEntry().GetRseqCsPointer() != 0 {
		g.refuse(where, "dump it again", "it was inside a restartable sequence that may not be aborted: not supported")
	}
	mode := c.GetThreadCore().GetSeccompMode()
	switch {
	case mode == criu_core.SeccompMode_strict:
		g.refuse(where, "", "strict seccomp: the hook would be killed")
	case mode == criu_core.SeccompMode_filter && !g.opts.AllowSeccomp:
		g.refuse(where, "if the filter permits the system calls of the plugin and those in docs/graft.md: --allow-seccomp",
			"it has a seccomp filter, which is in force when hooks of a graft run and may kill the task")
	}
}
