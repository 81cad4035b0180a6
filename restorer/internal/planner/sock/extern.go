package sock

import (
	"errors"
	"path"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
)

// What CRIU notes about a unix socket besides what it is (criu/sk-unix.c).
const (
	UskExtern  = 1 // a peer that was not dumped
	UskService = 2 // the connection over which the dump was asked for
)

// checkMarked refuses sockets that take more than their own entry to restore.
func (u *unixPlanner) checkMarked(s *unixSocket) {
	switch flags := s.GetUflags(); {
	case flags == 0:
	case flags == UskService:
		u.Refuse(s.where, "", "%s was the connection to CRIU's service: not supported", s.what)
	default:
		u.Refuse(s.where, "", "%s was dumped by a plugin of CRIU's, or inherited (flags %#x): not supported",
			s.what,
			flags)
	}
}

// externalPeer finds a peer that was not dumped: criu dump --ext-unix-sk and --external unix[INODE] note its name.
func (p *Room) externalPeer(ino uint32) *pb.UnixSkEntry {
	if p.externalPeers == nil {
		p.externalPeers = map[uint32]*pb.UnixSkEntry{}
		for _, file := range p.Dir.Files {
			if e := file.GetUsk(); e.GetUflags() == UskExtern {
				p.externalPeers[e.GetIno()] = e
			}
		}
	}
	return p.externalPeers[ino]
}

// peer finds what a socket is connected to, among those that are restored or, by its name, among those that live here.
// nil: it was refused.
func (u *unixPlanner) peer(s *unixSocket) *unixSocket {
	if to := u.byIno[s.GetPeer()]; to != nil {
		return to
	}
	e := u.externalPeer(s.GetPeer())
	if e == nil {
		u.Refuse(s.where, "", "%s is connected to socket %d, which was not dumped: not supported", s.what,
			s.GetPeer())
		return nil
	}
	to := &unixSocket{UnixSkEntry: e, what: socketName(e), path: unixPath(e)}
	name := unixName(e)
	if to.path != "" {
		name = to.path
	}
	switch {
	case len(e.GetName()) == 0:
		u.Refuse(s.where, "", "%s is connected to socket %d, which was not dumped and has no name: not supported",
			s.what, s.GetPeer())
	case to.path != "" && !path.IsAbs(to.path):
		u.Refuse(s.where, "",
			"%s is connected to %s, which was not dumped and whose directory is not known: not supported",
			s.what,
			to.what)
	case !u.Opts.ExtUnix:
		u.Refuse(s.where, "use --ext-unix-sk to connect it to the socket that has the name now",
			"%s is connected to %s, which was not dumped", s.what, to.what)
	case !u.Host.UnixName(name) && !u.unseen(name):
		u.Refuse(s.where, "start the process that has it", "%s is connected to %s, which nobody has open",
			s.what,
			to.what)
	case s.isStream() && len(u.queue(s)) > 0:
		u.Refuse(s.where, "", "%s has data from %s, which was not dumped: not supported", s.what, to.what)
	default:
		return to
	}
	return nil
}

// unseen reports whether nothing can be said of a file.
func (u *unixPlanner) unseen(path string) bool {
	_, err := u.Host.Lstat(path)
	return errors.Is(err, host.ErrUnseen)
}
