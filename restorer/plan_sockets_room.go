package restorer

import (
	"sync"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// sockRoom plans sockets.
type sockRoom struct {
	*job
	skQueues    map[uint32][]*images.SkQueue // by file id; see queues
	strangers   map[uint32]*pb.UnixSkEntry   // see stranger
	crowded     map[uint32]bool              // see crowdedPorts
	inetSockets func() []InetSocket          // this host's, asked once
}

func newSockRoom(j *job) *sockRoom {
	return &sockRoom{job: j, inetSockets: sync.OnceValue(j.host.InetSockets)}
}

// sockPlanner plans the sockets of one task.
type sockPlanner struct {
	*filePlanner
	*sockRoom
}

func (r *sockRoom) task(f *filePlanner) *sockPlanner { return &sockPlanner{f, r} }

// kinds lists the families.
func (r *sockRoom) kinds() []kind {
	simple := func(of pb.FdTypes, method func(*sockPlanner) describe) kind {
		return plain(of, func(f *filePlanner) describe { return method(r.task(f)) })
	}
	return []kind{
		{pb.FdTypes_UNIXSK, func(f *filePlanner) describer { return newUnixPlanner(r.task(f)) }},
		simple(pb.FdTypes_INETSK, func(s *sockPlanner) describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.inetSocket(fd, file.GetIsk()) }
		}),
		simple(pb.FdTypes_NETLINKSK, func(s *sockPlanner) describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.netlinkSocket(fd, file.GetNlsk()) }
		}),
		simple(pb.FdTypes_PACKETSK, func(s *sockPlanner) describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.packetSocket(fd, file.GetPsk()) }
		}),
	}
}

func newUnixPlanner(s *sockPlanner) *unixPlanner {
	return &unixPlanner{
		sockPlanner: s, byID: map[uint32]*unixSocket{}, byIno: map[uint32]*unixSocket{}, to: map[uint32][]*unixSocket{},
		listeners: map[string]*unixSocket{}, paths: map[string]*unixSocket{},
	}
}
