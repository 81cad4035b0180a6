package planner

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A session can only be inherited (setsid(2)). A task is in another one than its parent's if it was born before its
// parent led a session of its own, or if it is an orphan that a subreaper has adopted. The first is cloned early; the
// second by a helper in the right session, which then ends, so that the same subreaper adopts it again,
// PR_SET_CHILD_SUBREAPER of prctl(2).

// planBirths decides for every task how it comes into being.
func (p *planner) planBirths() {
	p.Births, p.adopters, p.groupMarks = map[uint32]job.Birth{}, map[uint32]bool{}, map[uint32]bool{}
	bornIn := map[uint32]uint32{}
	for _, t := range p.Dir.Tasks {
		switch {
		case t.Parent == nil:
			p.Births[t.Pid] = job.Birth{}
		case t.Sid == t.Pid || t.Sid == t.Parent.Sid:
			p.Births[t.Pid] = job.Birth{Creator: t.Parent}
		case bornEarly(t):
			p.bornEarly(t, bornIn)
		default:
			p.Births[t.Pid] = p.adopted(t)
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
			p.Refuse(fmt.Sprintf("task %d", t.Pid), "",
				"it is in session %d, but its parent %d, which led its own, was born in session %d: not supported",
				t.Sid, parent.Pid, was)
			return
		}
		bornIn[parent.Pid] = t.Sid
		p.Births[a.Pid] = job.Birth{Creator: parent, Early: true}
	}
}

// adopted plans the birth of an orphan.
func (p *planner) adopted(t *images.Task) job.Birth {
	where := fmt.Sprintf("task %d", t.Pid)
	if !p.adopts(t.Parent) {
		p.Refuse(where, "",
			"it is in session %d and its parent %d, which has not adopted it, in session %d: not supported",
			// its parent may have been an orphan itself, and then have led a session
			t.Sid, t.Parent.Pid, t.Parent.Sid)
		return job.Birth{Creator: t.Parent}
	}
	h := p.sessionHelper(t)
	if h == nil {
		p.Refuse(where, "",
			"it is in session %d, whose tasks have different parents, and none is its leader: not supported", t.Sid)
		return job.Birth{Creator: t.Parent}
	}
	if p.adopter(h) != t.Parent {
		p.Refuse(where, "",
			"it is in session %d and its parent is %d, but the subreaper of that session is another task: not supported",
			t.Sid, t.Parent.Pid)
		return job.Birth{Creator: t.Parent}
	}
	switch { // what a failure leaves of its children would not come to the restorer
	case p.Own.PID: // they all end with the first
	case p.Opts.Sibling:
		p.Refuse(where, "restore it without --restore-sibling",
			"it is an orphan in session %d: not supported with --restore-sibling", t.Sid)
	case p.Opts.Become != 0:
		p.Refuse(where, "run it again, or, as the first program of a container, with exec: it will have another pid",
			"it is an orphan in session %d: not supported when crpie itself was given the root task's pid",
			t.Sid)
	}
	p.adopters[t.Parent.Pid] = true
	h.Clones = append(h.Clones, t)
	return job.Birth{Creator: h.Creator, Helper: h}
}

// adopter gives the task that adopts what a helper leaves behind.
func (p *planner) adopter(h *job.Helper) *images.Task {
	for a := h.Creator; a != nil; a = a.Parent {
		if p.adopts(a) {
			return a
		}
	}
	return nil
}

// adopts reports whether a task adopts orphans: the first process of a pid namespace does without having asked for it,
// pid_namespaces(7).
func (p *planner) adopts(t *images.Task) bool {
	return t.Core.GetTc().GetChildSubreaper() || p.isInit(t)
}

func (p *planner) isInit(t *images.Task) bool { return p.Own.PID && !p.Own.First && t.Parent == nil }

// sessionHelper gives the helper that clones the orphans of a session: a child of the session's leader, the leader
// itself if it is a zombie, or a leader in its place.
func (p *planner) sessionHelper(t *images.Task) *job.Helper {
	for _, h := range p.helpers {
		if h.Session == t.Sid && h.Leads && h.Creator != t.Parent {
			return nil
		} else if h.Session == t.Sid {
			return h
		}
	}
	h := &job.Helper{Pid: t.Sid, Session: t.Sid, Creator: t.Parent, Leads: true}
	if leader := p.Dir.TaskByPid(t.Sid); leader != nil && leader.Dead() {
		h = &job.Helper{Pid: t.Sid, Session: t.Sid, Creator: leader.Parent, Zombie: leader}
	} else if leader != nil {
		h = &job.Helper{Pid: p.freeID(t.Sid), Session: t.Sid, Creator: leader}
	}
	p.addHelper(h)
	return h
}

func (p *planner) addHelper(h *job.Helper) {
	p.helpers = append(p.helpers, h)
	if h.Zombie == nil {
		p.checkHelper(h)
	}
}

// checkHelper refuses a helper whose pid cannot be had: a helper is a process that lends its pid to a session or
// process group whose leader was gone at the dump.
func (p *planner) checkHelper(h *job.Helper) {
	where := fmt.Sprintf("task %d", h.Creator.Pid)
	if who := p.Holder(h.Pid); who != "" {
		p.Refuse(where, p.HintTaken(),
			"number %d, of a session or process group, is taken by %s", h.Pid, who)
	}
	const most = 1 << 22 // PID_MAX_LIMIT, linux/threads.h
	if h.Pid == 0 || h.Pid > most {
		p.Refuse(where, "", "%d is not the number of a session or process group that was dumped", h.Pid)
	}
	if p.numbered(h.Pid) {
		p.Refuse(where, "",
			"a session or process group has the number %d, and so has a thread that does not lead it: not supported",
			h.Pid)
	}
}

// numbered reports whether a thread of the images has a number.
func (p *planner) numbered(tid uint32) bool {
	for _, t := range p.Dir.Tasks {
		for _, th := range t.Threads {
			if th.Tid == tid {
				return true
			}
		}
	}
	return false
}

// freeID finds a number that no process has and no task needs.
func (p *planner) freeID(below uint32) uint32 {
	used := map[uint32]bool{}
	for _, t := range p.Dir.Tasks {
		used[t.Pgid], used[t.Sid] = true, true
		for _, th := range t.Threads {
			used[th.Tid] = true
		}
	}
	for _, h := range p.helpers {
		used[h.Pid] = true
	}
	const far = 1 << 16
	for n := below - 1; n > 1 && below-n < far; n-- {
		if !used[n] && p.Holder(n) == "" {
			return n
		}
	}
	for n := below + 1; n-below < far; n++ { // the numbers of a young pid namespace are all in use
		if !used[n] && p.Holder(n) == "" {
			return n
		}
	}
	return below // taken: checkHelper says so
}

// planGroups finds process groups whose leader is gone: the first member has a helper lead it until it has joined. It
// also records the group leaders that zombies follow; a zombie cannot join its group later.
func (p *planner) planGroups() {
	for _, t := range p.Dir.Tasks {
		if p.groupMaker(t.Pgid) != nil || p.foreignGroup(t) {
			continue
		}
		if h := p.sessionLeader(t.Pgid); h != nil {
			h.Member = t
		} else {
			p.addHelper(&job.Helper{Pid: t.Pgid, Creator: t, Group: true})
		}
	}
	for _, t := range p.Dir.Tasks {
		if t.Dead() && p.joinsLate(t) {
			p.groupMarks[p.groupMaker(t.Pgid).Pid] = true
		}
	}
}

// sessionLeader gives the helper that leads a session whose leader is gone.
func (p *planner) sessionLeader(sid uint32) *job.Helper {
	for _, h := range p.helpers {
		if h.Leads && h.Pid == sid {
			return h
		}
	}
	return nil
}

// groupMaker gives the task with which a process group begins to exist: its leader, the first member that has a helper
// lead it, or the first one that a helper has made, or waits for, in its own group.
func (p *planner) groupMaker(pgid uint32) *images.Task {
	if leader := p.Dir.TaskByPid(pgid); leader != nil && leader.Pgid == pgid {
		return leader
	}
	for _, h := range p.helpers {
		switch {
		case h.Pid == pgid && h.Group:
			return h.Creator
		case h.Pid == pgid && h.Member != nil:
			return h.Member
		}
		for _, orphan := range h.Clones {
			if h.Leads && h.Pid == pgid && orphan.Pgid == pgid {
				return orphan
			}
		}
	}
	return nil
}

// foreignGroup: with --shell-job, what was in the shell's group is in crpie's. Without, its session is refused.
func (p *planner) foreignGroup(t *images.Task) bool {
	root := p.Dir.Tasks[0]
	return root.Sid != root.Pid && t.Sid == root.Sid && t.Pgid == root.Pgid
}

// indexOf is a task's place in the plan: helpers come behind the tasks of the images.
func (p *planner) indexOf(of *images.Task) uint64 {
	for i, t := range p.Dir.Tasks {
		if t == of {
			return uint64(i)
		}
	}
	panic("restorer: a task that is not in the images")
}

// planHelpers plans what the helpers do. They come behind the tasks of the images.
func (p *planner) planHelpers() {
	for _, h := range p.helpers {
		if h.Zombie != nil {
			continue
		}
		t := &taskPlanner{
			planner: p, Process: p.NewTask(nil,
				&plan.Task{Pid: int(h.Pid), Comm: "crpie-helper", Dead: true}),
		}
		t.Prog.Core("", abi.SetPdeathsig{Parent: uint64(h.Creator.Pid)})
		if h.Leads {
			t.Prog.Want(int64(h.Pid), "session leader", uapi.SysSetsid)
		}
		t.orphans(h)
		if h.Group {
			t.Follow("its creator has joined the group", h.Creator, abi.MarkGroup)
		}
		if h.Member != nil {
			t.Follow("who needs it has joined the group", h.Member, abi.MarkGroup)
		}
		t.Prog.Core("", abi.ExitGroup{})
		t.Task.Threads = []*plan.Thread{{Tid: t.Task.Pid, Ops: t.Prog.Ops}}
		p.Plan.Tasks = append(p.Plan.Tasks, t.Task)
	}
}

// orphans clones what a helper leaves to the subreaper.
func (t *taskPlanner) orphans(h *job.Helper) {
	for _, orphan := range h.Clones {
		t.Prog.Core(fmt.Sprintf("orphan %d", orphan.Pid), abi.CloneTask{Task: t.indexOf(orphan)})
	}
}

// startHelper clones a helper and waits until it has ended.
func (t *taskPlanner) startHelper(h *job.Helper, meanwhile func()) {
	index := uint64(len(t.Dir.Tasks))
	for _, other := range t.helpers {
		if other == h {
			break
		}
		if other.Zombie == nil {
			index++
		}
	}
	t.Prog.Core(fmt.Sprintf("helper %d", h.Pid), abi.CloneTask{Task: index})
	meanwhile()
	t.Prog.Sys(fmt.Sprintf("helper %d has ended", h.Pid), uapi.SysWaitid, uapi.PPid, uint64(h.Pid), 0,
		uapi.WExited, 0)
	t.forgetChildren()
}

// forgetChildren forgets the SIGCHLDs that the restore itself has caused: those of the past are in the images.
func (t *taskPlanner) forgetChildren() {
	set, now := t.Prog.Arena.Words(1<<(uapi.SigChld-1)), t.Prog.Arena.Words(0, 0)
	t.Prog.Try("forget its SIGCHLD", uapi.SysRtSigtimedwait, set, 0, now, 8)
}

// helpersFor lists the helpers of a kind that are children of this task.
func (t *taskPlanner) helpersFor(kind func(h *job.Helper) bool) (found []*job.Helper) {
	for _, h := range t.helpers {
		if h.Creator == t.Img && kind(h) {
			found = append(found, h)
		}
	}
	return found
}

// adoption waits until the helper that made this task is gone and its real parent has it.
func (t *taskPlanner) adoption() {
	if h := t.Births[t.Img.Pid].Helper; h != nil {
		t.Follow("its parent has adopted it", h.Creator, abi.MarkHelpers)
		t.Prog.Core("", abi.SetPdeathsig{Parent: uint64(t.Img.Parent.Pid)})
	}
}
