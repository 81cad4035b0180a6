package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// delivery is what is sent again, to fill the queue of a socket, when every descriptor exists.
type delivery struct{ from, to *unixSocket }

// Numbers of unix(7) and cmsg(3).
const (
	scmRights  = 1
	maxRights  = 253 // SCM_MAX_FD
	cmsgHeader = 16  // sizeof(struct cmsghdr)
)

// queues sorts the queues by the file that they belong to.
func (p *sockRoom) queues() map[uint32][]*images.SkQueue {
	if p.skQueues == nil {
		p.skQueues = map[uint32][]*images.SkQueue{}
		for _, q := range p.dir.SkQueues {
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
	u.prog.setOption(d.from.number, "room for data", solSocket, soSndbufforce, min(room, 1<<30))
	for _, q := range queue {
		b := u.payload(d.to.where, q.Data)
		control := u.rights(d.to, q.Entry.GetScm())
		what := fmt.Sprintf("%d bytes for %s", len(b), d.to.what)
		if len(control) > 0 {
			what += fmt.Sprintf(", descriptors in flight: %d", (len(control)-cmsgHeader)/4)
		}
		u.prog.want(int64(len(b)), what, sysSendmsg, uint64(d.from.number), u.message(b, control), msgDontwait|msgNosignal)
	}
}

// message lays out struct msghdr, recv(2).
func (u *unixPlanner) message(data, control []byte) uint64 {
	a := u.prog.arena
	iov := a.words(a.bytes(data), uint64(len(data)))
	return a.words(0, 0, iov, 1, a.bytes(control), uint64(len(control)), 0)
}

// rights lays out the control message that carries descriptors: the zygote has all of them.
func (u *unixPlanner) rights(to *unixSocket, scm []*pb.ScmEntry) []byte {
	if len(scm) == 0 {
		return nil
	}
	ids := scm[0].GetRights()
	if len(scm) > 1 || scm[0].GetType() != scmRights || len(ids) > maxRights {
		u.refuse(to.where, "", "%s has something in its queue that is no list of descriptors (SCM_RIGHTS): not supported", to.what)
		return nil
	}
	le := binary.LittleEndian
	b := le.AppendUint64(nil, uint64(cmsgHeader+4*len(ids)))
	b = le.AppendUint32(le.AppendUint32(b, solSocket), scmRights)
	for _, id := range ids {
		switch fds := u.byFile[id]; {
		case u.dir.Files[id].GetType() == pb.FdTypes_TTY:
			u.refuse(to.where, "", "%s has a terminal in its queue (SCM_RIGHTS): not supported", to.what)
		case u.dir.Files[id].GetType() == pb.FdTypes_PIDFD:
			u.refuse(to.where, "", "%s has a pidfd in its queue (SCM_RIGHTS): not supported", to.what)
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
	case u.opened()[id] != "":
	case len(u.dir.Files[id].GetEpfd().GetTfd()) > 0:
		what = "an epoll set"
	case u.handedOver(id, phaseOwners):
		what = "a file with an owner (F_SETOWN)"
	}
	if what != "" {
		u.refuse(to.where, "", "%s has %s in its queue that no task has open: not supported", to.what, what)
	}
	return what == ""
}
