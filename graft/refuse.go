package graft

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/internal/uapi"
)

// problems collects; nothing stops at the first one.
type problems struct{ refuse.Collector }

func (p *problems) refuse(where, fix, format string, args ...any) {
	p.Refuse(where, fix, format, args...)
}

func (p *problems) err() error { return p.Err() }

// checkTask refuses what the core could not bring back exactly.
func (g *grafter) checkTask(t *images.Task) {
	where := fmt.Sprintf("task %d", t.Pid)
	for _, other := range g.dir.Tasks {
		if other != t && !other.Dead() && t.Ids != nil && t.Ids.GetVmId() == other.Ids.GetVmId() {
			g.refuse(where, "", "it shares its memory with task %d: not supported", other.Pid)
		}
	}
	if g.opts.Patience != 0 && t.Core.GetTc().GetTaskState() == images.StateStopped {
		g.refuse(where, "continue it before the dump",
			"it was stopped when it was dumped, so its hooks would run when somebody continues it, "+
				"and whoever restores it would wait for them")
	}
	for _, v := range t.Mm.GetVmas() {
		if g.plan.Parent && v.GetFlags()&uapi.MapHugetlb != 0 && v.GetFlags()&uapi.MapPrivate != 0 {
			g.refuse(where, "write a directory that stands alone: --copy",
				"it has private huge pages, which CRIU up to 4.2 looks for in the new directory only, for ever")
			break
		}
	}
	for i := range t.Threads {
		g.checkThread(fmt.Sprintf("%s thread %d", where, t.Threads[i].Tid), t.Threads[i].Core)
	}
}

// checkThread refuses a thread that could not go through the graft's code and come out as it was.
func (g *grafter) checkThread(where string, c *pb.CoreEntry) {
	if !g.Thread(where, c) {
		return
	}
	if c.GetThreadCore().GetRseqEntry().GetRseqCsPointer() != 0 {
		g.refuse(where, "dump it again",
			"it was inside a restartable sequence that may not be aborted: not supported")
	}
	if c.GetThreadCore().GetSeccompMode() == pb.SeccompMode_strict {
		g.refuse(where, "", "strict seccomp: the hook would be killed")
	}
}
