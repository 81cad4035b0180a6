package job

import (
	"github.com/crpie/crpie/images"
)

// Birth says how a task comes into being.
type Birth struct {
	Creator *images.Task // that clones it, or makes the helper that does; nil: the zygote
	Helper  *Helper
	Early   bool // before its creator leads a session
}

// Helper is a process that is not in the images, or a zombie: it clones orphans, or leads a process group until
// a member has joined. It ends before the application goes on.
type Helper struct {
	Pid     uint32
	Session uint32         // in which it clones orphans
	Creator *images.Task   // whose child it is
	Zombie  *images.Task   // the task that it becomes; nil: none of the images
	Leads   bool           // a session of its own
	Group   bool           // a process group, for its creator
	Clones  []*images.Task // orphans
	Member  *images.Task   // descendant of an orphan that joins the leader's own process group; nil: none has to
}

// Origin is the task as a copy of whose memory this one begins; nil: the zygote.
func (j *Job) Origin(t *images.Task) *images.Task {
	b := j.Births[t.Pid]
	if b.Helper != nil && b.Helper.Zombie != nil {
		return j.Births[b.Helper.Pid].Creator
	}
	return b.Creator
}

// ExistsFor reports whether a task is there when another begins with its descriptors: itself, those that it is cloned
// from, and those that are cloned from it.
func (j *Job) ExistsFor(target, t *images.Task) bool {
	if b := j.Births[target.Pid]; b.Creator == t && b.Helper == nil {
		return true
	}
	for a := t; a != nil; a = j.Births[a.Pid].Creator {
		if a == target {
			return true
		}
	}
	return false
}

// ClonedFrom reports whether a task or the one that it is cloned from, and so on, is cloned from the leader of a
// session.
func (j *Job) ClonedFrom(t *images.Task, leader uint32) bool {
	for t != nil {
		b := j.Births[t.Pid]
		if b.Creator != nil && b.Creator.Pid == leader {
			return !b.Early
		}
		t = b.Creator
	}
	return false
}
