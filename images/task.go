package images

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
)

// maxPid is the kernel's PID_MAX_LIMIT on 64-bit machines (include/linux/threads.h).
const maxPid = 1 << 22

// tasks reads pstree.img and, task by task, what belongs to each.
func (o *opener) tasks() {
	entries, ok := o.must("pstree.img", "PSTREE")
	if !ok {
		return
	}
	o.decodeEarly(entries)
	tree := treeBuilder{o: o, tids: map[uint32]bool{}, byPid: map[uint32]*Task{}}
	for i, e := range entries {
		tree.add(i, e.Message.(*pb.PstreeEntry))
	}
	for _, t := range o.dir.Tasks {
		o.task(t)
	}
}

// treeBuilder links pstree entries; thread ids are unique and parents come before their children.
type treeBuilder struct {
	o     *opener
	tids  map[uint32]bool
	byPid map[uint32]*Task
}

// add makes the task of an entry and reads the images of its threads.
func (b *treeBuilder) add(entry int, e *pb.PstreeEntry) {
	t := &Task{Pid: e.GetPid(), Ppid: e.GetPpid(), Pgid: e.GetPgid(), Sid: e.GetSid()}
	err := b.addTid("pid", t.Pid)
	if err == nil {
		err = b.link(entry, t)
	}
	if err == nil {
		t.Core = one[*pb.CoreEntry](b.o, fmt.Sprintf("core-%d.img", t.Pid), "CORE")
		t.Threads = []Thread{{t.Pid, t.Core}}
		err = b.addThreads(t, e.GetThreads())
	}
	if err != nil {
		b.o.problems.add("pstree.img", entry, err)
		return
	}
	b.byPid[t.Pid] = t
	b.o.dir.Tasks = append(b.o.dir.Tasks, t)
}

// addTid takes a number, which only one thread of the tree can have.
func (b *treeBuilder) addTid(field string, tid uint32) error {
	if tid == 0 || tid > maxPid {
		return fieldErr(field, "%d is not between 1 and %d", tid, maxPid)
	}
	if b.tids[tid] {
		return fieldErr(field, "%d occurs twice", tid)
	}
	b.tids[tid] = true
	return nil
}

// link finds the parent of a task; parents stand before their children.
func (b *treeBuilder) link(entry int, t *Task) error {
	if t.Ppid == 0 && entry > 0 {
		return fieldErr("ppid", "0: a second root, task %d", t.Pid)
	}
	if t.Ppid == 0 {
		return nil
	}
	t.Parent = b.byPid[t.Ppid]
	if t.Parent == nil {
		return fieldErr("ppid", "%d is not a task listed before its child %d", t.Ppid, t.Pid)
	}
	t.Parent.Children = append(t.Parent.Children, t)
	return nil
}

// addThreads reads the cores of the other threads. What CRIU lists for a dead task is an uninitialised number.
func (b *treeBuilder) addThreads(t *Task, tids []uint32) error {
	if t.Core == nil || t.Dead() {
		return nil
	}
	if len(tids) == 0 || tids[0] != t.Pid {
		return fieldErr("threads", "%d is not the first thread of its task", t.Pid)
	}
	for i, tid := range tids[1:] {
		if err := b.addTid(fmt.Sprintf("threads[%d]", i+1), tid); err != nil {
			return err
		}
		core := one[*pb.CoreEntry](b.o, fmt.Sprintf("core-%d.img", tid), "CORE")
		t.Threads = append(t.Threads, Thread{tid, core})
	}
	return nil
}

// task reads the other images of one task. Of a dead task there is only the core image.
func (o *opener) task(t *Task) {
	if t.Core == nil || t.Dead() {
		return
	}
	t.Ids = one[*pb.TaskKobjIdsEntry](o, fmt.Sprintf("ids-%d.img", t.Pid), "IDS")
	o.fds(t)
	t.Fs = one[*pb.FsEntry](o, fmt.Sprintf("fs-%d.img", t.Pid), "FS")
	t.Mm = one[*pb.MmEntry](o, fmt.Sprintf("mm-%d.img", t.Pid), "MM")
	t.takeGuards()
	t.Pagemap = o.pagemap(fmt.Sprintf("pagemap-%d.img", t.Pid))
}

// takeGuards takes the guard regions out of the list of mappings (CRIU 4.2 and later, VMA_AREA_GUARD).
func (t *Task) takeGuards() {
	if t.Mm == nil {
		return
	}
	t.Mm.Vmas = slices.DeleteFunc(t.Mm.Vmas, func(v *pb.VmaEntry) bool {
		guard := v.GetStatus()&VmaGuard != 0
		if guard {
			t.Guards = append(t.Guards, v)
		}
		return guard
	})
}

// one reads an image with exactly one entry.
func one[M pb.Message](o *opener, name, kind string) (m M) {
	entries, ok := o.must(name, kind)
	if !ok {
		return m
	}
	if len(entries) > 1 {
		o.problems.add(name, 1, fmt.Errorf("a second entry in an image that has one"))
	}
	return entries[0].Message.(M)
}

// fds reads the descriptors; tasks with the same files_id share one image. CRIU makes the image with the first
// descriptor, so a task without one has none: checkLostFds sees whether it is lost.
func (o *opener) fds(t *Task) {
	id := t.Pid
	if o.dir.Inventory.GetFdinfoPerId() {
		if t.Ids == nil {
			return
		}
		id = t.Ids.GetFilesId()
		if fds, shared := o.fdsByID[id]; shared {
			t.Fds = fds
			return
		}
	}
	name := fmt.Sprintf("fdinfo-%d.img", id)
	if !o.names[name] {
		o.noFds = append(o.noFds, name)
	}
	t.Fds = messages[*pb.FdinfoEntry](o.read(name, "FDINFO"))
	o.fdsByID[id] = t.Fds
}
