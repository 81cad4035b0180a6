package graft

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/resident"
)

// findResident looks for the hooks that tasks carry themselves, if that is asked for. The graft has the addresses of
// their functions, so each file must be the one that was dumped. Of a damaged array nothing runs: with auto that is
// noted, otherwise nothing is grafted.
func (g *grafter) findResident(allowed map[uint32]bool) {
	which := g.opts.ResidentHooks
	if which == "" {
		return
	}
	g.resident = map[uint32][]blob.Resident{}
	some := false
	for _, t := range g.dir.Tasks {
		if t.Dead() || !allowed[t.Pid] {
			continue
		}
		space := imagemem.Space(g.dir, t, &g.mapped, imagemem.OpenFile(g.opts.OpenFile))
		found := (&resident.Process{Space: space, Read: imagemem.Reader(g.dir, t, space),
			Plugins: len(g.opts.Plugins)}).Find(which)
		for _, err := range found.Damaged {
			g.damaged(t, which, err)
		}
		for _, err := range found.Other {
			g.otherFile(t, which, err)
		}
		if len(found.Damaged) == 0 {
			g.resident[t.Pid] = found.Files
		}
		some = some || len(found.Damaged)+len(found.Files) > 0 || which != resident.Auto && len(found.Other) > 0
	}
	switch {
	case some:
	case which == resident.Auto:
		g.plan.Notes = append(g.plan.Notes, "resident hooks: no task has any")
	default:
		g.refuse("resident hooks", "graft without --resident-hooks, or say with --root where the files of the tasks are",
			"no file that a task maps exports an array %s (--resident-hooks=%s)", resident.Symbol, which)
	}
}

func (g *grafter) damaged(t *images.Task, which string, err error) {
	if which != resident.Auto {
		g.refuse(fmt.Sprintf("task %d", t.Pid), "graft without --resident-hooks", "resident hooks: %v", err)
		return
	}
	note := fmt.Sprintf("task %d: none of its resident hooks runs: %v", t.Pid, err)
	g.plan.Notes = append(g.plan.Notes, note)
}

// otherFile names a file that may have had hooks: where all are required that is a refusal.
func (g *grafter) otherFile(t *images.Task, which string, err error) {
	if which != resident.Auto {
		g.refuse(fmt.Sprintf("task %d", t.Pid), "say with --root where the files of the tasks are", "resident hooks: %v", err)
		return
	}
	note := fmt.Sprintf("resident hooks: %v", err)
	if !slices.Contains(g.plan.Notes, note) {
		g.plan.Notes = append(g.plan.Notes, note)
	}
}

// withResident gives the image the task's resident hooks.
func (t *taskGraft) withResident() (err error) {
	if carried := t.resident[t.img.Pid]; len(carried) > 0 {
		t.image, err = t.image.WithResident(carried)
	}
	return err
}

// table gives the address of the hook table: the blob's, or one with resident hooks, which it lays out. How long that
// is depends on no address.
func (t *taskGraft) table() uint64 {
	carried := t.resident[t.img.Pid]
	if len(carried) == 0 {
		return uint64(t.image.Table)
	}
	at := t.arena.Reserve(t.layout.TableSize(carried))
	if t.image.Size > 0 {
		copy(t.arena.At(at), t.image.TableAt(blob.Addr(at)))
	}
	return at
}

// residentNames lists a task's resident hooks for people.
func (g *grafter) residentNames(pid uint32) (names []string) {
	for _, f := range g.resident[pid] {
		for _, h := range f.Hooks {
			names = append(names, fmt.Sprintf("%s %s %s", f.Name, h.ID, h.Symbol))
		}
	}
	return names
}
