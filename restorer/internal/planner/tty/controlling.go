package tty

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A session gets its controlling terminal from its leader before that has children: they inherit it, later ones would
// not. /dev/tty opens it, credentials(7), so the leader opens all descriptions of that, too.

// controllingTerminals finds the session of each description of /dev/tty: the first task's that has
// it.
func (p *Room) controllingTerminals() {
	p.ctties = map[uint32][]*pb.FdinfoEntry{}
	for _, task := range p.Dir.Tasks {
		for _, fd := range task.Fds {
			file := p.Dir.Files[fd.GetId()].GetTty()
			if p.Dir.Ttys[file.GetTtyInfoId()].GetType() != pb.TtyType_CTTY || p.controls(task.Sid) == nil {
				continue
			}
			if _, made := p.SharedFDs[fd.GetId()]; made {
				continue
			}
			number := uint32(p.Fds.Scratch())
			p.ctties[task.Sid] = append(p.ctties[task.Sid],
				&pb.FdinfoEntry{Id: fd.Id, Type: fd.Type, Fd: &number})
			p.SharedFDs[fd.GetId()] = int(number)
			p.checkHolders(fd.GetId(), task.Sid)
		}
	}
}

// controls finds the terminal of a session.
func (p *Room) controls(sid uint32) *terminal {
	for _, t := range p.terminals {
		if t.sid == sid {
			return t
		}
	}
	return nil
}

// checkHolders: only the leader and those who are cloned from it later can inherit what it opens.
func (p *Room) checkHolders(id, sid uint32) {
	for _, task := range p.Dir.Tasks {
		for _, fd := range task.Fds {
			if fd.GetId() == id && task.Pid != sid && !p.ClonedFrom(task, sid) {
				p.Refuse(fmt.Sprintf("task %d fd %d", task.Pid, fd.GetFd()), "",
					"it has the /dev/tty of session %d, but does not descend from its leader: not supported", sid)
			}
		}
	}
}

// ControllingTerminal gives a session the terminal that it had, and its leader the descriptors of /dev/tty.
func (p *Room) ControllingTerminal(t *job.Process) {
	term := p.controls(t.Img.Pid)
	if term == nil {
		return
	}
	steal := uint64(0)
	if term.passed != 0 { // its sender may have it as its controlling terminal
		steal = 1
	}
	t.Prog.Sys("controlling terminal "+term.name, uapi.SysIoctl, uint64(term.fd), uapi.Tiocsctty, steal)
	f := p.task(t)
	for _, fd := range p.ctties[t.Img.Pid] {
		f.Create(fd, "/dev/tty", uapi.SysOpenat, uapi.AtFdcwd, t.Prog.Arena.String("/dev/tty"), f.ttyFlags(fd))
		f.finishTTY(fd)
	}
}

// Foreground makes a new process group of the task's session its terminal's foreground, if it was. TIOCSCTTY has done
// it for the session leader's own. All signals are blocked, SIGTTOU too, which the terminal would send, tcsetpgrp(3).
func (p *Room) Foreground(t *job.Process, pgid uint32) {
	if term := p.controls(t.Img.Sid); term != nil && term.pgrp == pgid {
		t.Prog.Sys("foreground process group of "+term.name, uapi.SysIoctl, uint64(term.fd), uapi.Tiocspgrp,
			t.Prog.Arena.Bytes(plan.Words32([]uint32{pgid})))
	}
}
