//go:build amd64

package run

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// compareTasks tells what hooks have changed in the tasks, all of whose threads stand.
func (r *Runner) compareTasks() error {
	left := uint64(changes.MaxPages)
	for _, t := range r.Plan.Alive() {
		w := r.watchers[t]
		if w == nil || w.diff == nil {
			continue
		}
		if err := r.compareTask(w, &left); err != nil {
			return fmt.Errorf("restore task %d: what hooks have changed: %w", t.Pid, err)
		}
	}
	return nil
}

func (r *Runner) compareTask(w *watched, left *uint64) error {
	pid, t := r.pid(w.task), w.task
	mem, err := sys.OpenMemory(pid)
	if err != nil {
		return err
	}
	defer mem.Close()
	now := r.stateOf(w, t.Threads[0])
	r.markUndone(w, now)
	if err := r.noteTimers(w); err != nil {
		return err
	}
	w.report.Diff = w.diff.Diff
	if w.dumped == nil { // only hooks before there is memory, or unreadable images
		return nil
	}
	if err := r.changedActions(w, mem); err != nil {
		return err
	}
	environ := changes.FindEnviron(pid)
	before := func(addr uint64, b []byte) int { return w.dumped.ReadSome(addr, b, mem.ReadSome) }
	w.diff.Environment = changes.Tables(changes.EnvironmentOf(environ, &t.MM, before),
		changes.EnvironmentOf(environ, &t.MM, mem.ReadSome))
	r.changedMemory(w, mem, now.mappings, left)
	w.names = w.diff.OpenNames(pid, now.mappings, t.MM, changes.Block(&t.MM, before))
	return nil
}

// changedActions compares the actions of the signals for which hooks have set one.
func (r *Runner) changedActions(w *watched, mem *sys.Memory) error {
	was := func(sig unix.Signal) (changes.Action, error) { return w.dumped.Action(int(sig)), nil }
	is := func(sig unix.Signal) (changes.Action, error) { return r.action(w, mem, sig) }
	return w.touched.AddTo(w.diff, r.region(), was, is)
}

// action asks for the action of a signal, by a system call of the leader, which stands in the core. The kernel writes
// it below the thread's stack and the red zone, psABI x86-64, 3.2.2.
func (r *Runner) action(w *watched, mem *sys.Memory, sig unix.Signal) (a changes.Action, err error) {
	const below = 256
	tid := r.pid(w.task)
	regs, err := sys.GetRegs(tid)
	if err != nil {
		return a, err
	}
	insn, ok := r.Plan.Image.CoreSymbol("core_syscall_insn")
	if !ok {
		return a, os.ErrNotExist
	}
	at := (regs.Sp - below - uint64(len(a))) &^ 15
	err = prepareCall(tid, uint64(insn), uapi.SysRtSigaction, uint64(sig), 0, at, 8)
	if err == nil {
		err = r.finishCalls("rt_sigaction", []tracee{{w.task, w.task.Threads[0], tid}})
	}
	if err == nil {
		err = mem.Read(at, a[:])
	}
	return a, err
}

// comparison compares the memory of a task with what the images have.
type comparison struct {
	*watched
	pid    sys.PID
	mem    *sys.Memory
	pages  *changes.PageMap
	region memory.Span
	hidden []memory.Span // what the kernel writes by itself
	left   *uint64       // bytes that may be compared
	was    []byte        // for a part of the memory, with the next
	is     []byte
}

// part is how much memory is compared at a time, bytes.
const part = 1 << 20

func (r *Runner) changedMemory(w *watched, mem *sys.Memory, after []taskview.VMA, left *uint64) {
	pages, err := changes.OpenPageMap(r.pid(w.task))
	if err != nil {
		w.diff.NotCompared("memory: %v", err)
		return
	}
	defer pages.Close()
	c := &comparison{watched: w, pid: r.pid(w.task), mem: mem, pages: pages, region: r.region(), left: left,
		was: make([]byte, part), is: make([]byte, part)}
	for _, th := range w.task.Threads {
		if area := sys.RseqArea(r.tid(th)); area != 0 {
			c.hidden = append(c.hidden, memory.Span{Start: area, End: area + changes.RseqSize})
		}
	}
	changes.EachInterval(w.dumped.Mappings(), after, c.interval)
	for _, k := range w.kept {
		is := make([]byte, len(k.bytes))
		c.compare(k.at, k.bytes, is[:mem.ReadSome(k.at, is)])
	}
}

// interval compares a part of the address space that is one mapping before and after.
func (c *comparison) interval(start, end uint64, was, is *taskview.VMA) {
	span := memory.Span{Start: start, End: end}
	if is == nil || c.region.Has(start) {
		return
	}
	if was == nil {
		if changes.HasOwnPages(is) {
			c.pointersIn(span, is)
		}
		return
	}
	kind := c.dumped.KindAt(start)
	if kind == imagemem.Kernel || kind == imagemem.SharedFile {
		return
	}
	if span.Size() > changes.MaxMapping && (c.pages.Walked || kind == imagemem.Shared) {
		c.diff.NotCompared("%x-%x %s: too large", start, end, changes.DescribeMapping(is))
		return
	}
	file := c.fileOf(kind, start, is)
	if file != nil {
		defer file.Close()
	}
	c.each(c.pagesOf(kind, span), is, func(at uint64, is []byte) error {
		was := c.was[:len(is)]
		var from io.ReaderAt
		if file != nil {
			from = file
		}
		if err := c.dumped.Read(at, was, from); err != nil {
			return err
		}
		c.compare(at, was, is)
		return nil
	})
}

// fileOf opens the file that a private mapping is of.
func (c *comparison) fileOf(kind imagemem.Kind, at uint64, is *taskview.VMA) *os.File {
	if kind != imagemem.Private || !c.dumped.IsFile(at) || !isFile(c.pid, is) {
		return nil
	}
	file, _ := os.Open(mapFile(c.pid, is))
	return file
}

// pagesOf lists the pages that may be others: those that the task has of its own, or uses of what it shares, and those
// that it was given.
func (c *comparison) pagesOf(kind imagemem.Kind, span memory.Span) []memory.Span {
	if kind == imagemem.Shared {
		return c.pages.Present(span)
	}
	return memory.Union(c.pages.Own(span), c.dumped.Pages(span))
}

// each reads the pages of a mapping, a part at a time.
func (c *comparison) each(spans []memory.Span, of *taskview.VMA, visit func(at uint64, is []byte) error) {
	for _, span := range spans {
		for at := span.Start; at < span.End; {
			size := min(uint64(part), span.End-at)
			if size > *c.left {
				c.diff.NotCompared("memory: what lies beyond the first %d MiB", uint64(changes.MaxPages)>>20)
				return
			}
			*c.left -= size
			n := memory.PageDown(uint64(c.mem.ReadSome(at, c.is[:size])))
			if err := visit(at, c.is[:n]); err != nil {
				c.diff.NotCompared("%s: %v", changes.DescribeMapping(of), err)
				return
			}
			if at += n; n < size { // a page that cannot be read
				at += memory.PageSize
			}
		}
	}
}

// compare notes how contents of the same memory differ, page by page.
func (c *comparison) compare(at uint64, was, is []byte) {
	for len(is) > 0 && len(was) > 0 {
		n := min(memory.PageSize, len(is), len(was))
		if !bytes.Equal(was[:n], is[:n]) {
			changes.Hide(c.hidden, at, was[:n], is[:n])
			c.diff.Add(c.region, at, was[:n], is[:n])
		}
		at, was, is = at+uint64(n), was[n:], is[n:]
	}
}

// pointersIn looks for pointers to plugins in memory that hooks have mapped.
func (c *comparison) pointersIn(span memory.Span, is *taskview.VMA) {
	if c.pages.Walked && span.Size() > changes.MaxMapping {
		return
	}
	c.each(c.pages.Own(span), is, func(at uint64, is []byte) error {
		c.diff.AddPointers(c.region, at, nil, is)
		return nil
	})
}
