package planner

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/resident"
	"github.com/crpie/crpie/stage"
)

// findResident looks for the hooks that tasks carry themselves, if that is asked for.
func (p *planner) findResident() {
	which := p.Opts.Resident
	if which == "" {
		return
	}
	p.resident = map[uint32]resident.Found{}
	some := false
	for _, t := range p.Dir.Tasks {
		if t.Dead() {
			continue
		}
		found := p.residentOf(t, which)
		p.resident[t.Pid] = found
		some = some || len(found.Files) > 0 || len(found.Damaged) > 0
	}
	switch {
	case some:
	case which == resident.Auto:
		p.residentNote = "resident hooks: no task has any"
	default:
		p.Refuse("resident hooks", "restore without --resident-hooks, or with --resident-hooks=auto",
			"no file that a task maps exports an array %s (--resident-hooks=%s)", resident.Symbol, which)
	}
}

// residentOf looks into one task. If an array is damaged none of its hooks runs: a note with auto, else a refusal.
func (p *planner) residentOf(t *images.Task, which string) resident.Found {
	space := p.space(t)
	found := (&resident.Process{Space: space, Read: imagemem.Reader(p.Dir, t, space), Unfiltered: filtered(t),
		Plugins: len(p.hooked)}).Find(which)
	for _, err := range found.Damaged {
		if which == resident.Auto {
			p.residentDamage = append(p.residentDamage, fmt.Sprintf("task %d: none of its resident hooks runs: %v", t.Pid, err))
			continue
		}
		p.Refuse(fmt.Sprintf("task %d", t.Pid), "restore without --resident-hooks", "resident hooks: %v", err)
	}
	if len(found.Damaged) > 0 {
		found.Files = nil
	}
	return found
}

// filtered reports whether a thread of a task has seccomp filters, or the strict mode: the tracer suspends them.
func filtered(t *images.Task) bool {
	return slices.ContainsFunc(t.Threads, func(th images.Thread) bool {
		return th.Core.GetThreadCore().GetSeccompMode() != pb.SeccompMode_disabled
	})
}

// addResident gives the task the hook table with its resident hooks.
func (t *taskPlanner) addResident() {
	found := t.resident[t.Img.Pid].Files
	if len(found) == 0 {
		return
	}
	image, err := t.Plan.Image.WithResident(found)
	if err != nil {
		t.Refuse(t.Where(), "", "%v", err)
		return
	}
	t.Task.Resident = image
	for range found {
		t.Task.Plugins = append(t.Task.Plugins, true)
	}
}

// residentAt lists the files whose resident hooks run in a task at a stage.
func (p *planner) residentAt(pid uint32, at stage.Stage) (names []string) {
	for _, f := range p.resident[pid].Files {
		for _, h := range f.Hooks {
			if h.ID == at && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// residentCalls counts the calls of one task's resident hooks, at most.
func (p *planner) residentCalls() (most int) {
	for _, found := range p.resident {
		n := 0
		for _, f := range found.Files {
			n += len(f.Hooks)
		}
		most = max(most, n)
	}
	return most
}
