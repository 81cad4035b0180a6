package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

// A session gets its controlling terminal from its leader before that has children: they inherit it, later ones would not.
// /dev/tty opens it, credentials(7), so the leader opens all descriptions of that, too.

// controllingTerminals finds out which session each description of /dev/tty belongs to: that of the first task that has it.
func (p *ttyRoom) controllingTerminals() {
	p.ctties = map[uint32][]*pb.FdinfoEntry{}
	for _, task := range p.dir.Tasks {
		for _, fd := range task.Fds {
			file := p.dir.Files[fd.GetId()].GetTty()
			if p.dir.Ttys[file.GetTtyInfoId()].GetType() != pb.TtyType_CTTY || p.controls(task.Sid) == nil {
				continue
			}
			if _, made := p.sharedFDs[fd.GetId()]; made {
				continue
			}
			number := uint32(p.fds.scratch())
			p.ctties[task.Sid] = append(p.ctties[task.Sid], &pb.FdinfoEntry{Id: fd.Id, Type: fd.Type, Fd: &number})
			p.sharedFDs[fd.GetId()] = int(number)
			p.checkHolders(fd.GetId(), task.Sid)
		}
	}
}

// controls finds the terminal of a session.
func (p *ttyRoom) controls(sid uint32) *terminal {
	for _, t := range p.terminals {
		if t.sid == sid {
			return t
		}
	}
	return nil
}

// checkHolders: only the leader and those who are cloned from it later can inherit what it opens.
func (p *ttyRoom) checkHolders(id, sid uint32) {
	for _, task := range p.dir.Tasks {
		for _, fd := range task.Fds {
			if fd.GetId() == id && task.Pid != sid && !p.clonedFrom(task, sid) {
				p.refuse(fmt.Sprintf("task %d fd %d", task.Pid, fd.GetFd()), "",
					"it has the /dev/tty of session %d, but does not descend from its leader: not supported", sid)
			}
		}
	}
}

// controllingTerminal gives a session the terminal that it had, and its leader what is open as /dev/tty.
func (p *ttyRoom) controllingTerminal(t *jobTask) {
	term := p.controls(t.img.Pid)
	if term == nil {
		return
	}
	steal := uint64(0)
	if term.passed != 0 { // whoever passes it may have it as theirs
		steal = 1
	}
	t.prog.sys("controlling terminal "+term.name, sysIoctl, uint64(term.fd), tiocsctty, steal)
	f := p.task(t)
	for _, fd := range p.ctties[t.img.Pid] {
		f.create(fd, "/dev/tty", sysOpenat, atFdcwd, t.prog.arena.string("/dev/tty"), f.ttyFlags(fd))
		f.finishTTY(fd)
	}
}

// foreground makes a new process group of the task's session its terminal's foreground, if it was. TIOCSCTTY has done it for
// the session leader's own. All signals are blocked, SIGTTOU too, which the terminal would send, tcsetpgrp(3).
func (p *ttyRoom) foreground(t *jobTask, pgid uint32) {
	if term := p.controls(t.img.Sid); term != nil && term.pgrp == pgid {
		t.prog.sys("foreground process group of "+term.name, sysIoctl, uint64(term.fd), tiocspgrp,
			t.prog.arena.bytes(words32([]uint32{pgid})))
	}
}
