package restorer

import "github.com/crpie/crpie/images"

// birth says how a task comes into being.
type birth struct {
	creator *images.Task // that clones it, or makes the helper that does; nil: the zygote
	helper  *helper
	early   bool // before its creator leads a session
}

// helper is a process that is not in the images, or a zombie: it clones orphans, or leads a process group until somebody has
// joined. It ends before the application goes on.
type helper struct {
	pid     uint32
	creator *images.Task   // whose child it is
	zombie  *images.Task   // who it is; nil: nobody in the images
	leads   bool           // a session of its own
	group   bool           // a process group, for its creator
	clones  []*images.Task // orphans
}

// origin is the task as a copy of whose memory this one begins; nil: the zygote.
func (j *job) origin(t *images.Task) *images.Task {
	b := j.births[t.Pid]
	if b.helper != nil && b.helper.zombie != nil {
		return j.births[b.helper.pid].creator
	}
	return b.creator
}

// existsFor reports whether a task is there when another begins with its descriptors: itself, those that it is cloned from,
// and those that are cloned from it.
func (j *job) existsFor(target, t *images.Task) bool {
	if b := j.births[target.Pid]; b.creator == t && b.helper == nil {
		return true
	}
	for a := t; a != nil; a = j.births[a.Pid].creator {
		if a == target {
			return true
		}
	}
	return false
}

// clonedFrom reports whether a task or the one that it is cloned from, and so on, is cloned from the leader of a session.
func (j *job) clonedFrom(t *images.Task, leader uint32) bool {
	for t != nil {
		b := j.births[t.Pid]
		if b.creator != nil && b.creator.Pid == leader {
			return !b.early
		}
		t = b.creator
	}
	return false
}
