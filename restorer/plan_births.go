package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
)

// A session can only be inherited (setsid(2)). A task is in another one than its parent's if it was born before its parent
// led a session of its own, or if it is an orphan that a subreaper has adopted. The first is cloned early; the second by a
// helper in the right session, which then ends, so that the same subreaper adopts it again, PR_SET_CHILD_SUBREAPER of
// prctl(2).

// planBirths decides for every task how it comes into being.
func (p *planner) planBirths() {
	p.births, p.adopters, p.groupMarks = map[uint32]birth{}, map[uint32]bool{}, map[uint32]bool{}
	bornIn := map[uint32]uint32{}
	for _, t := range p.dir.Tasks {
		switch {
		case t.Parent == nil:
			p.births[t.Pid] = birth{}
		case t.Sid == t.Pid || t.Sid == t.Parent.Sid:
			p.births[t.Pid] = birth{creator: t.Parent}
		case bornEarly(t):
			p.bornEarly(t, bornIn)
		default:
			p.births[t.Pid] = p.adopted(t)
		}
	}
	p.planGroups()
}

// bornEarly reports whether the task can have its session from an ancestor: all tasks between have left that session by
// leading one of their own.
func bornEarly(t *images.Task) bool {
	for a := t.Parent; a != nil; a = a.Parent {
		if a.Pid == t.Sid || a.Sid == t.Sid {
			return true
		}
		if a.Sid != a.Pid {
			return false
		}
	}
	return false
}

// bornEarly has the task cloned before its parent leads a session, and so, if need be, its ancestors.
func (p *planner) bornEarly(t *images.Task, bornIn map[uint32]uint32) {
	for a := t; a.Parent != nil && a.Parent.Sid != t.Sid; a = a.Parent {
		parent := a.Parent
		if was, ok := bornIn[parent.Pid]; ok && was != t.Sid {
			p.refuse(fmt.Sprintf("task %d", t.Pid), "", "it is in session %d, but its parent %d, which led its own, was born in session %d: impossible",
				t.Sid, parent.Pid, was)
			return
		}
		bornIn[parent.Pid] = t.Sid
		p.births[a.Pid] = birth{creator: parent, early: true}
	}
}

// adopted plans the birth of an orphan.
func (p *planner) adopted(t *images.Task) birth {
	where := fmt.Sprintf("task %d", t.Pid)
	if !t.Parent.Core.GetTc().GetChildSubreaper() {
		p.refuse(where, "", "it is in session %d and its parent %d, which has not adopted it, in session %d: not supported",
			t.Sid, t.Parent.Pid, t.Parent.Sid) // its parent may have been an orphan itself, and then have led a session
		return birth{creator: t.Parent}
	}
	h := p.sessionHelper(t)
	if h == nil {
		p.refuse(where, "", "it is in session %d, whose tasks have different parents, and none is its leader: not supported", t.Sid)
		return birth{creator: t.Parent}
	}
	if adopter(h) != t.Parent {
		p.refuse(where, "", "it is in session %d and its parent is %d, but the subreaper of that session is another task: impossible",
			t.Sid, t.Parent.Pid)
		return birth{creator: t.Parent}
	}
	if p.opts.Sibling { // what a failure leaves of its children would not come to the restorer
		p.refuse(where, "restore it without --restore-sibling", "it is an orphan in session %d: not supported with --restore-sibling", t.Sid)
	}
	p.adopters[t.Parent.Pid] = true
	h.clones = append(h.clones, t)
	return birth{creator: h.creator, helper: h}
}

// adopter gives the task that adopts what a helper leaves behind.
func adopter(h *helper) *images.Task {
	for a := h.creator; a != nil; a = a.Parent {
		if a.Core.GetTc().GetChildSubreaper() {
			return a
		}
	}
	return nil
}

// sessionHelper gives the helper that clones the orphans of a session: a child of the session's leader, the leader itself if
// it is a zombie, or a leader in its place.
func (p *planner) sessionHelper(t *images.Task) *helper {
	for _, h := range p.helpers {
		switch {
		case h.pid == t.Sid && h.creator == t.Parent, h.zombie != nil && h.pid == t.Sid, !h.leads && h.creator.Pid == t.Sid:
			return h
		case h.pid == t.Sid:
			return nil
		}
	}
	h := &helper{pid: t.Sid, creator: t.Parent, leads: true}
	if leader := p.dir.TaskByPid(t.Sid); leader != nil && leader.Dead() {
		h = &helper{pid: t.Sid, creator: leader.Parent, zombie: leader}
	} else if leader != nil {
		h = &helper{pid: p.freeID(t.Sid), creator: leader}
	}
	p.addHelper(h)
	return h
}

func (p *planner) addHelper(h *helper) {
	p.helpers = append(p.helpers, h)
	if h.zombie == nil {
		p.checkHelper(h)
	}
}

func (p *planner) checkHelper(h *helper) {
	where := fmt.Sprintf("task %d", h.creator.Pid)
	if who := p.host.Holder(int(h.pid)); who != "" {
		p.refuse(where, "end that process, or restore elsewhere",
			"number %d, of a session or process group, is taken by %s", h.pid, who)
	}
	const most = 1 << 22 // PID_MAX_LIMIT, linux/threads.h
	if h.pid == 0 || h.pid > most {
		p.refuse(where, "", "%d is no number of a session or process group that was dumped", h.pid)
	}
	if p.numbered(h.pid) {
		p.refuse(where, "", "a session or process group has the number %d, and so has a thread that does not lead it: not supported", h.pid)
	}
}

// numbered reports whether a thread of the images has a number.
func (p *planner) numbered(tid uint32) bool {
	for _, t := range p.dir.Tasks {
		for _, th := range t.Threads {
			if th.Tid == tid {
				return true
			}
		}
	}
	return false
}

// freeID finds a number that nobody has or needs.
func (p *planner) freeID(below uint32) uint32 {
	used := map[uint32]bool{}
	for _, t := range p.dir.Tasks {
		used[t.Pgid], used[t.Sid] = true, true
		for _, th := range t.Threads {
			used[th.Tid] = true
		}
	}
	for _, h := range p.helpers {
		used[h.pid] = true
	}
	for n := below - 1; n > 1 && below-n < 1<<16; n-- {
		if !used[n] && p.host.Holder(int(n)) == "" {
			return n
		}
	}
	return below // taken: checkHelper says so
}

// planGroups finds process groups whose leader is gone: the first member has a helper lead it until it has joined. It also
// finds whom zombies wait for, which cannot wait until everybody exists.
func (p *planner) planGroups() {
	for _, t := range p.dir.Tasks {
		if p.groupMaker(t.Pgid) == nil && !p.foreignGroup(t) {
			p.addHelper(&helper{pid: t.Pgid, creator: t, group: true})
		}
	}
	for _, t := range p.dir.Tasks {
		if t.Dead() && p.joinsLate(t) {
			p.groupMarks[p.groupMaker(t.Pgid).Pid] = true
		}
	}
}

// groupMaker gives the task with which a process group begins to exist: its leader, the first member that has a helper lead
// it, or the first one that a helper has made in its own group.
func (p *planner) groupMaker(pgid uint32) *images.Task {
	if leader := p.dir.TaskByPid(pgid); leader != nil && leader.Pgid == pgid {
		return leader
	}
	for _, h := range p.helpers {
		if h.pid == pgid && h.group {
			return h.creator
		}
		for _, orphan := range h.clones {
			if h.leads && h.pid == pgid && orphan.Pgid == pgid {
				return orphan
			}
		}
	}
	return nil
}

// foreignGroup: with --shell-job, what was in the shell's group is in crpie's. Without, its session is refused.
func (p *planner) foreignGroup(t *images.Task) bool {
	root := p.dir.Tasks[0]
	return root.Sid != root.Pid && t.Sid == root.Sid && t.Pgid == root.Pgid
}

// indexOf is a task's place in the plan: helpers come behind the tasks of the images.
func (p *planner) indexOf(of *images.Task) uint64 {
	for i, t := range p.dir.Tasks {
		if t == of {
			return uint64(i)
		}
	}
	panic("restorer: a task that is not in the images")
}

// planHelpers plans what the helpers do. They come behind the tasks of the images.
func (p *planner) planHelpers() {
	for _, h := range p.helpers {
		if h.zombie != nil {
			continue
		}
		t := &taskPlanner{
			planner: p, jobTask: p.newTask(nil, &Task{Pid: int(h.pid), Comm: "crpie-helper", Dead: true}),
		}
		t.prog.core(abi.OpParent, "", uint64(h.creator.Pid))
		if h.leads {
			t.prog.want(int64(h.pid), "session leader", sysSetsid)
		}
		t.orphans(h)
		if h.group {
			t.follow("its creator has joined the group", h.creator, markGroup)
		}
		t.prog.core(abi.OpExit, "", 0)
		t.task.Threads = []*Thread{{Tid: t.task.Pid, Ops: t.prog.ops}}
		p.plan.Tasks = append(p.plan.Tasks, t.task)
	}
}

// orphans clones what a helper leaves to the subreaper.
func (t *taskPlanner) orphans(h *helper) {
	for _, orphan := range h.clones {
		t.prog.core(abi.OpClone, fmt.Sprintf("orphan %d", orphan.Pid), t.indexOf(orphan), 0)
	}
}

// startHelper clones a helper and waits until it has ended.
func (t *taskPlanner) startHelper(h *helper, meanwhile func()) {
	index := uint64(len(t.dir.Tasks))
	for _, other := range t.helpers {
		if other == h {
			break
		}
		if other.zombie == nil {
			index++
		}
	}
	t.prog.core(abi.OpClone, fmt.Sprintf("helper %d", h.pid), index, 0)
	meanwhile()
	t.prog.sys(fmt.Sprintf("helper %d has ended", h.pid), sysWaitid, pPid, uint64(h.pid), 0, wExited, 0)
	t.forgetChildren()
}

// forgetChildren forgets the SIGCHLDs that the restore itself has caused: those of the past are in the images.
func (t *taskPlanner) forgetChildren() {
	const sigchld = 17
	set, now := t.prog.arena.words(1<<(sigchld-1)), t.prog.arena.words(0, 0)
	t.prog.try("forget its SIGCHLD", sysRtSigtimedwait, set, 0, now, 8)
}

// helpersFor lists the helpers of a kind that are children of this task.
func (t *taskPlanner) helpersFor(kind func(h *helper) bool) (found []*helper) {
	for _, h := range t.helpers {
		if h.creator == t.img && kind(h) {
			found = append(found, h)
		}
	}
	return found
}

// adoption waits until the helper that made this task is gone and its real parent has it.
func (t *taskPlanner) adoption() {
	if h := t.births[t.img.Pid].helper; h != nil {
		t.follow("its parent has adopted it", h.creator, markHelpers)
		t.prog.core(abi.OpParent, "", uint64(t.img.Parent.Pid))
	}
}
