package restorer

import (
	"sync"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"

	"github.com/crpie/crpie/images"
)

// sockRoom plans sockets.
type sockRoom struct {
	*job
	skQueues    map[uint32][]*images.SkQueue    // by file id; see queues
	strangers   map[uint32]*sk_unix.UnixSkEntry // see stranger
	crowded     map[uint32]bool                 // see crowdedPorts
	inetSockets func() []InetSocket             // this host's, asked once
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
	simple := func(of fdinfo.FdTypes, method func(*sockPlanner) describe) kind {
		return plain(of, func(f *filePlanner) describe { return method(r.task(f)) })
	}
	return []kind{
		{fdinfo.FdTypes_UNIXSK, func(f *filePlanner) describer { return newUnixPlanner(r.task(f)) }},
		simple(fdinfo.FdTypes_INETSK, func(s *sockPlanner) describe {
			return func(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) { s.inetSocket(fd, file.GetIsk()) }
		}),
		simple(fdinfo.FdTypes_NETLINKSK, func(s *sockPlanner) describe {
			return func(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) { s.netlinkSocket(fd, file.GetNlsk()) }
		}),
		simple(fdinfo.FdTypes_PACKETSK, func(s *sockPlanner) describe {
			return func(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) { s.packetSocket(fd, file.GetPsk()) }
		}),
	}
}

func newUnixPlanner(s *sockPlanner) *unixPlanner {
	return &unixPlanner{
		sockPlanner: s, byID: map[uint32]*unixSocket{}, byIno: map[uint32]*unixSocket{}, to: map[uint32][]*unixSocket{},
		listeners: map[string]*unixSocket{}, paths: map[string]*unixSocket{},
	}
}
