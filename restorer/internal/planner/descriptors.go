package planner

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// descriptors plans descriptors, working directory, root and umask. Until its end the task still has the descriptors it
// inherited; after it, only the application's.
func (t *taskPlanner) descriptors() {
	if job.SharesFiles(t.Img, t.Img.Parent) {
		t.sharedDescriptors()
		return
	}
	sharers := t.sharers()
	for _, other := range sharers {
		t.Follow(fmt.Sprintf("task %d needs the restorer's descriptors no more", other.Pid), other,
			abi.MarkOwnFiles)
	}
	t.oomScore()
	t.loginUID()
	f := t.files.Task(t.Process)
	f.Descriptions()
	t.socks.Task(f).MapRings()
	f.Epolls()
	t.Enter(job.PhaseSeals)
	f.Leases()
	f.Filesystem()
	f.CloseOthers()
	if len(sharers) > 0 {
		t.Mark("the descriptors are the application's", abi.MarkFiles)
	}
	f.Locks()
}

// sharedDescriptors serves a task whose descriptor table is an ancestor's, CLONE_FILES of clone(2): the ancestor
// restores the descriptors, when no task uses others any more.
func (t *taskPlanner) sharedDescriptors() {
	t.oomScore()
	t.loginUID()
	f := t.files.Task(t.Process)
	t.Enter(job.PhaseSeals)
	f.Filesystem()
	t.Mark("it needs the restorer's descriptors no more", abi.MarkOwnFiles)
	t.Follow("the descriptors are the application's", job.TableOwner(t.Img), abi.MarkFiles)
	t.socks.Task(f).MapRings()
	f.Locks()
}

// sharers lists the descendants that have the descriptor table of this task.
func (t *taskPlanner) sharers() (all []*images.Task) {
	for _, other := range t.Dir.Tasks {
		if other != t.Img && job.SharesFiles(other, t.Img) {
			all = append(all, other)
		}
	}
	return all
}

// oomScore needs /proc, as loginUID does, so they come before the root directory changes.
func (t *taskPlanner) oomScore() {
	tc := t.Img.Core.GetTc()
	score := int(tc.GetOomScoreAdj())
	if tc.OomScoreAdj == nil || score == t.Host.OomScoreAdj {
		return
	}
	if score < t.Host.OomScoreAdj && !t.Host.Has(uapi.CapSysResource) {
		t.Refuse(t.Where(), "start crpie with an oom_score_adj that is no higher, or with CAP_SYS_RESOURCE",
			"oom_score_adj %d is below crpie's own %d", score, t.Host.OomScoreAdj)
		return
	}
	t.writeOwn("oom_score_adj", score)
}

// loginUID restores what audit calls the task by. CRIU dumps one that is set, and nothing unsets one.
func (t *taskPlanner) loginUID() {
	tc := t.Img.Core.GetTc()
	uid := tc.GetLoginuid()
	if tc.Loginuid == nil || uid == host.NoLoginUID || uid == t.Host.LoginUID() {
		return
	}
	if !t.Host.Has(uapi.CapAuditControl) {
		t.Refuse(t.Where(), "", "audit's login uid %d is not crpie's own, and crpie lacks CAP_AUDIT_CONTROL",
			uid)
		return
	}
	t.writeOwn("loginuid", uid)
}

// writeOwn writes a number to a file of the task's own in /proc.
func (t *taskPlanner) writeOwn(name string, value any) {
	fd, text := t.Fds.Scratch(), fmt.Sprint(value)
	t.Prog.Open(fd, true, name, uapi.SysOpenat, uapi.AtFdcwd, t.Prog.Arena.String("/proc/self/"+name), uapi.OWronly)
	t.Prog.Want(int64(len(text)), name, uapi.SysWrite, uint64(fd), t.Prog.Arena.String(text), uint64(len(text)))
	t.Prog.Sys("", uapi.SysClose, uint64(fd))
}
