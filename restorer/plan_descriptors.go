package restorer

import (
	"fmt"
	"math"

	"github.com/crpie/crpie/images"
)

// descriptors plans descriptors, working directory, root and umask. Until its end the task still has the descriptors it
// inherited; after it, only the application's.
func (t *taskPlanner) descriptors() {
	if sharesFiles(t.img, t.img.Parent) {
		t.sharedDescriptors()
		return
	}
	sharers := t.sharers()
	for _, other := range sharers {
		t.follow(fmt.Sprintf("task %d needs the restorer's descriptors no more", other.Pid), other, markOwnFiles)
	}
	t.oomScore()
	t.loginUID()
	f := t.files.task(t.jobTask)
	f.descriptions()
	t.socks.task(f).mapRings()
	f.epolls()
	t.enter(phaseSeals)
	f.leases()
	f.filesystem()
	f.closeOthers()
	if len(sharers) > 0 {
		t.mark("the descriptors are the application's", markFiles)
	}
	f.locks()
}

// sharedDescriptors serves a task whose descriptor table is an ancestor's, CLONE_FILES of clone(2): the ancestor
// restores the descriptors, when nobody uses others any more.
func (t *taskPlanner) sharedDescriptors() {
	t.oomScore()
	t.loginUID()
	f := t.files.task(t.jobTask)
	t.enter(phaseSeals)
	f.filesystem()
	t.mark("it needs the restorer's descriptors no more", markOwnFiles)
	t.follow("the descriptors are the application's", tableOwner(t.img), markFiles)
	t.socks.task(f).mapRings()
	f.locks()
}

// tableOwner is the ancestor that restores the descriptors, or the task itself.
func tableOwner(t *images.Task) *images.Task {
	for sharesFiles(t, t.Parent) {
		t = t.Parent
	}
	return t
}

// sharers lists the descendants that have the descriptor table of this task.
func (t *taskPlanner) sharers() (all []*images.Task) {
	for _, other := range t.dir.Tasks {
		if other != t.img && sharesFiles(other, t.img) {
			all = append(all, other)
		}
	}
	return all
}

// oomScore needs /proc, as loginUID does, so they come before the root directory changes.
func (t *taskPlanner) oomScore() {
	tc := t.img.Core.GetTc()
	score := int(tc.GetOomScoreAdj())
	if tc.OomScoreAdj == nil || score == t.host.OomScoreAdj {
		return
	}
	if score < t.host.OomScoreAdj && !t.host.has(capSysResource) {
		t.refuse(t.where(), "start crpie with an oom_score_adj that is no higher, or with CAP_SYS_RESOURCE",
			"oom_score_adj %d is below crpie's own %d", score, t.host.OomScoreAdj)
		return
	}
	t.writeOwn("oom_score_adj", score)
}

// noLoginUID is the login uid of who has not logged in, audit(7).
const noLoginUID = math.MaxUint32

// loginUID restores what audit calls the task by. CRIU dumps one that is set, and nothing unsets one.
func (t *taskPlanner) loginUID() {
	tc := t.img.Core.GetTc()
	uid := tc.GetLoginuid()
	if tc.Loginuid == nil || uid == noLoginUID || uid == t.host.LoginUID {
		return
	}
	if !t.host.has(capAuditControl) {
		t.refuse(t.where(), "", "audit's login uid %d is not crpie's own, and crpie lacks CAP_AUDIT_CONTROL", uid)
		return
	}
	t.writeOwn("loginuid", uid)
}

// writeOwn writes a number to a file of the task's own in /proc.
func (t *taskPlanner) writeOwn(name string, value any) {
	fd, text := t.fds.scratch(), fmt.Sprint(value)
	t.prog.open(fd, true, name, sysOpenat, atFdcwd, t.prog.arena.string("/proc/self/"+name), oWronly)
	t.prog.want(int64(len(text)), name, sysWrite, uint64(fd), t.prog.arena.string(text), uint64(len(text)))
	t.prog.sys("", sysClose, uint64(fd))
}
