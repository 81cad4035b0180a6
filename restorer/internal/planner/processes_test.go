package planner

import "fmt"

// A process of a model of the kernel that knows who is whose child, in which session and process group.
type process struct {
	pid, ppid, pgid, sid uint32
	reaper, dead         bool
}

// processes follows setsid(2), setpgid(2), exit(2) and PR_SET_CHILD_SUBREAPER of prctl(2).
type processes map[uint32]*process

// taken: the kernel gives a number out again when no process, session or process group has it.
func (k processes) taken(id uint32) bool {
	for _, p := range k {
		if p.pid == id || p.pgid == id || p.sid == id {
			return true
		}
	}
	return false
}

func (k processes) fork(parent *process, pid uint32) (*process, error) {
	if k.taken(pid) {
		return nil, fmt.Errorf("fork of %d: number %d is taken", parent.pid, pid)
	}
	k[pid] = &process{pid: pid, ppid: parent.pid, pgid: parent.pgid, sid: parent.sid}
	return k[pid], nil
}

func (k processes) setsid(p *process) error {
	for _, other := range k {
		if other.pgid == p.pid {
			return fmt.Errorf("setsid of %d: process %d is in a group of that number", p.pid, other.pid)
		}
	}
	p.sid, p.pgid = p.pid, p.pid
	return nil
}

func (k processes) setpgid(caller *process, pid, pgid uint32) error {
	p := k[pid]
	switch {
	case p == nil || p != caller && p.ppid != caller.pid:
		return fmt.Errorf("setpgid by %d: %d is not its child", caller.pid, pid)
	case p.sid != caller.sid || p.sid == p.pid:
		return fmt.Errorf("setpgid by %d: %d is in session %d", caller.pid, pid, p.sid)
	}
	for _, other := range k {
		if pgid == pid || other.pgid == pgid && other.sid == p.sid {
			p.pgid = pgid
			return nil
		}
	}
	return fmt.Errorf("setpgid by %d: session %d has no group %d", caller.pid, p.sid, pgid)
}

// exit leaves a zombie, and the children to the next subreaper.
func (k processes) exit(p *process) {
	p.dead, p.reaper = true, false
	heir := k[p.ppid]
	for heir != nil && (heir.dead || !heir.reaper) {
		heir = k[heir.ppid]
	}
	for _, child := range k {
		if child.ppid == p.pid {
			child.ppid = 0
			if heir != nil {
				child.ppid = heir.pid
			}
		}
	}
}

func (k processes) reap(p *process) { delete(k, p.pid) }
