package sock

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// delivery is a message that is sent again, to fill the queue of a socket, when every descriptor exists.
type delivery struct{ from, to *unixSocket }

// queues sorts the queues by the file that they belong to.
func (p *Room) queues() map[uint32][]*images.SkQueue {
	if p.skQueues == nil {
		p.skQueues = map[uint32][]*images.SkQueue{}
		for _, q := range p.Dir.SkQueues {
			p.skQueues[q.Entry.GetIdFor()] = append(p.skQueues[q.Entry.GetIdFor()], q)
		}
	}
	return p.skQueues
}

func (u *unixPlanner) queue(s *unixSocket) []*images.SkQueue { return u.queues()[s.GetId()] }

// send notes that what was in the queue of a socket is to be put there again.
func (u *unixPlanner) send(from, to *unixSocket) {
	if len(u.queue(to)) > 0 {
		u.deliveries = append(u.deliveries, delivery{from, to})
	}
}

// deliver sends it.
func (u *unixPlanner) deliver(d delivery) {
	queue := u.queue(d.to)
	room := uint64(1 << 16) // what the kernel counts besides the data
	for _, q := range queue {
		room += uint64(q.Data.Size) + 1<<12
	}
	u.Prog.SetOption(d.from.number, "room for data", uapi.SolSocket, uapi.SoSndbufforce, min(room, 1<<30))
	for _, q := range queue {
		b := u.Payload(d.to.where, q.Data)
		control := u.rights(d.to, q.Entry.GetScm())
		what := fmt.Sprintf("%d bytes for %s", len(b), d.to.what)
		if len(control) > 0 {
			what += fmt.Sprintf(", descriptors in flight: %d", (len(control)-uapi.CmsgHeader)/4)
		}
		u.Prog.Want(int64(len(b)), what, uapi.SysSendmsg, uint64(d.from.number), u.message(b, control),
			uapi.MsgDontwait|uapi.MsgNosignal)
	}
}

// message lays out struct msghdr, recv(2).
func (u *unixPlanner) message(data, control []byte) uint64 {
	a := u.Prog.Arena
	iov := a.Words(a.Bytes(data), uint64(len(data)))
	return a.Words(0, 0, iov, 1, a.Bytes(control), uint64(len(control)), 0)
}

// rights lays out the control message that carries descriptors: the zygote has all of them.
func (u *unixPlanner) rights(to *unixSocket, scm []*pb.ScmEntry) []byte {
	if len(scm) == 0 {
		return nil
	}
	ids := scm[0].GetRights()
	if len(scm) > 1 || scm[0].GetType() != uapi.ScmRights || len(ids) > uapi.MaxRights {
		u.Refuse(to.where, "",
			"%s has something in its queue that is not a list of descriptors (SCM_RIGHTS): not supported",
			to.what)
		return nil
	}
	le := binary.LittleEndian
	b := le.AppendUint64(nil, uint64(uapi.CmsgHeader+4*len(ids)))
	b = le.AppendUint32(le.AppendUint32(b, uapi.SolSocket), uapi.ScmRights)
	for _, id := range ids {
		switch fds := u.ByFile[id]; {
		case u.Dir.Files[id].GetType() == pb.FdTypes_TTY:
			u.Refuse(to.where, "", "%s has a terminal in its queue (SCM_RIGHTS): not supported", to.what)
		case u.Dir.Files[id].GetType() == pb.FdTypes_PIDFD:
			u.Refuse(to.where, "", "%s has a pidfd in its queue (SCM_RIGHTS): not supported", to.what)
		case len(fds) > 0 && u.canFly(to, id):
			b = le.AppendUint32(b, fds[0].GetFd())
		}
	}
	return b
}

// canFly refuses what the first task that has the description restores of it: there may be none.
func (u *unixPlanner) canFly(to *unixSocket, id uint32) bool {
	what := ""
	switch {
	case u.Opened()[id] != "":
	case u.HandedOver(id, job.PhaseOwners):
		what = "a file with an owner (F_SETOWN)"
	case len(u.Dir.Files[id].GetEpfd().GetTfd()) > 0 && !u.fillEpoll(to, id):
		what = "an epoll set"
	}
	if what != "" {
		u.Refuse(to.where, "", "%s has %s in its queue that no task has open: not supported", to.what, what)
	}
	return what == ""
}

// fillEpoll has the task that is to receive an epoll set fill it, and warns: CRIU has not looked whether that task's
// numbers are meant. There is none if the socket is in flight itself.
func (u *unixPlanner) fillEpoll(to *unixSocket, id uint32) bool {
	for _, t := range u.Dir.Tasks {
		for _, fd := range t.Fds {
			if fd.GetId() == to.GetId() {
				u.FillInFlight(t, id)
				u.Warn(to.where,
					"%s has an epoll set in its queue, in which are the descriptors of task %d with the same numbers",
					to.what, t.Pid)
				return true
			}
		}
	}
	return false
}
