package sock

import (
	"sync"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Room plans sockets.
type Room struct {
	*job.Job
	skQueues      map[uint32][]*images.SkQueue // by file id; see queues
	externalPeers map[uint32]*pb.UnixSkEntry   // see externalPeer
	crowded       map[uint32]bool              // see crowdedPorts
	inetSockets   func() []host.InetSocket     // this host's, asked once
}

// NewRoom prepares the planning of a job's sockets.
func NewRoom(j *job.Job) *Room {
	return &Room{Job: j, inetSockets: sync.OnceValue(j.Host.InetSockets)}
}

// descriptors plans the sockets of one task.
type descriptors struct {
	*file.Descriptors
	*Room
}

// Task returns the room of one task's sockets.
func (r *Room) Task(f *file.Descriptors) *descriptors { return &descriptors{f, r} }

// Kinds lists the families.
func (r *Room) Kinds() []file.Kind {
	simple := func(of pb.FdTypes, method func(*descriptors) file.Describe) file.Kind {
		return file.Plain(of, func(f *file.Descriptors) file.Describe { return method(r.Task(f)) })
	}
	return []file.Kind{
		{Of: pb.FdTypes_UNIXSK, New: func(f *file.Descriptors) file.Describer {
			return newUnixPlanner(r.Task(f))
		}},
		simple(pb.FdTypes_INETSK, func(s *descriptors) file.Describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.inetSocket(fd, file.GetIsk()) }
		}),
		simple(pb.FdTypes_NETLINKSK, func(s *descriptors) file.Describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.netlinkSocket(fd, file.GetNlsk()) }
		}),
		simple(pb.FdTypes_PACKETSK, func(s *descriptors) file.Describe {
			return func(fd *pb.FdinfoEntry, file *pb.FileEntry) { s.packetSocket(fd, file.GetPsk()) }
		}),
	}
}

func newUnixPlanner(s *descriptors) *unixPlanner {
	return &unixPlanner{
		descriptors: s, byID: map[uint32]*unixSocket{}, byIno: map[uint32]*unixSocket{},
		to:        map[uint32][]*unixSocket{},
		listeners: map[string]*unixSocket{}, paths: map[string]*unixSocket{},
	}
}
