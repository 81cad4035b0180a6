//go:build amd64

package run

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// state is what /proc says of a task at a moment.
type state struct {
	mappings                        []taskview.VMA
	descriptors, limits, attributes map[string]string
}

// stateOf looks at a task, and at what a thread has of its own.
func (r *Runner) stateOf(w *watched, th *plan.Thread) *state {
	pid, s := r.pid(w.task), &state{}
	var err error
	if s.mappings, err = changes.MappingsOf(pid); err != nil {
		w.diff.NotCompared("mappings: %v", err)
	}
	if s.descriptors, err = changes.DescriptorsOf(pid); err != nil {
		w.diff.NotCompared("descriptors: %v", err)
	}
	s.limits = changes.LimitsOf(pid)
	s.attributes = map[string]string{}
	r.attributesInto(s.attributes, w.task, th)
	return s
}

func (r *Runner) attributesInto(all map[string]string, t *plan.Task, th *plan.Thread) {
	for what, is := range changes.AttributesOf(r.tid(th)) {
		all[attributeOf(t, th, what)] = is
	}
}

// attributeOf names an attribute; those of the leader are the process's.
func attributeOf(t *plan.Task, th *plan.Thread, what string) string {
	if th == t.Threads[0] {
		return what
	}
	return fmt.Sprintf("%s of thread %d", what, th.Tid)
}

// state is nil if nobody asks.
func (c *watchedCall) state() *state {
	if c.watched.diff == nil {
		return nil
	}
	return c.stateOf(c.watched, c.thread)
}

// note adds what a call has changed to what others have.
func (w *watched) note(before, after *state, c *watchedCall) {
	if w.diff == nil {
		return
	}
	region := c.region()
	if c.stage < stage.PostFiles {
		before.descriptors = changes.WithoutPositions(before.descriptors, after.descriptors)
	}
	w.diff.Mappings = append(w.diff.Mappings, changes.Mappings(before.mappings, after.mappings, region)...)
	for _, table := range []struct {
		all           *[]*report.Change
		before, after map[string]string
	}{
		{&w.diff.Descriptors, before.descriptors, after.descriptors},
		{&w.diff.Limits, before.limits, after.limits},
		{&w.diff.Attributes, before.attributes, after.attributes},
	} {
		*table.all = changes.Follow(*table.all, changes.Tables(table.before, table.after))
	}
}

func (r *Runner) region() memory.Span {
	return memory.Span{Start: r.Plan.Region.Start, End: r.Plan.Region.End}
}

// markUndone finds what the restore itself has changed again after the hooks. now is what the leader has.
func (r *Runner) markUndone(w *watched, now *state) {
	for _, th := range w.task.Threads[1:] {
		r.attributesInto(now.attributes, w.task, th)
	}
	for _, table := range []struct {
		changed []*report.Change
		now     map[string]string
	}{{w.diff.Descriptors, now.descriptors}, {w.diff.Limits, now.limits}, {w.diff.Attributes, now.attributes}} {
		for _, c := range table.changed {
			is, has := table.now[c.What]
			c.Undone = is != c.After || has == c.Gone
		}
	}
	for _, c := range w.diff.Mappings {
		c.Undone = !changes.StillMapped(c, now.mappings)
	}
}

// keptFile is memory of a file that others may have, as it was before the first hook that finds it.
type keptFile struct {
	at    uint64
	bytes []byte
}

// look keeps, before the first hook that finds memory, what the images do not have of it.
func (w *watched) look(c *watchedCall) (err error) {
	if w.diff == nil || w.looked || c.stage < stage.PostMemory {
		return nil
	}
	w.looked = true
	if w.dumped, err = c.Opts.Watch.Dumped(w.task.Pid); err != nil {
		w.diff.NotCompared("memory: %v", err)
		w.dumped = nil
		return nil
	}
	for _, v := range w.dumped.Mappings() {
		if w.dumped.KindAt(v.Start) == imagemem.SharedFile && v.Prot&unix.PROT_WRITE != 0 {
			c.keep(&v)
		}
	}
	return nil
}

// keep keeps the contents of one mapping.
func (c *watchedCall) keep(v *taskview.VMA) {
	size, diff := v.End-v.Start, c.watched.diff
	switch {
	case !isFile(c.pid(c.watched.task), v):
		diff.NotCompared("%s: %d bytes of a device", changes.DescribeMapping(v), size)
	case size > changes.MaxShared-c.keeps:
		diff.NotCompared("%s: %d bytes of shared memory are too many to keep", changes.DescribeMapping(v), size)
	default:
		c.keeps += size
		contents := make([]byte, size)
		contents = contents[:c.mem.ReadSome(v.Start, contents)]
		c.watched.kept = append(c.watched.kept, keptFile{v.Start, contents})
	}
}

// isFile reports whether a mapping is of a regular file.
func isFile(pid sys.PID, v *taskview.VMA) bool {
	info, err := os.Stat(mapFile(pid, v))
	return err == nil && info.Mode().IsRegular()
}

// mapFile is where a mapping's file can be opened, proc_pid_map_files(5).
func mapFile(pid sys.PID, v *taskview.VMA) string {
	return fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, v.Start, v.End)
}

// describe names what has changed in the tasks, which go on meanwhile.
func (r *Runner) describe() {
	for _, t := range r.Plan.Tasks {
		if w := r.watchers[t]; w != nil && w.names != nil {
			w.names.Describe(w.diff)
			w.names.Close()
		}
	}
}
