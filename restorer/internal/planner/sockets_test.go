package planner

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/sock"
)

// withSockets is a sample whose descriptors 0, 1 and 2 are unix sockets: a pair and a listener.
func withSockets(t *testing.T) (dir *images.Dir, s []*pb.UnixSkEntry) {
	t.Helper()
	dir = openSample(t, sampleFS(t, "static"))
	dir.Tasks[0].Fds = nil
	for i, peer := range []uint32{101, 100, 0} {
		id, state := uint32(1000+i), uint32(uapi.TcpEstablished)
		if peer == 0 {
			state = uapi.TcpListen
		}
		s = append(s, &pb.UnixSkEntry{
			Id: &id, Ino: pb.Uint32(uint32(100 + i)), Peer: pb.Uint32(peer),
			Type:  pb.Uint32(uapi.SockStream),
			State: &state, Opts: &pb.SkOptsEntry{}, Fown: &pb.FownEntry{},
		})
		dir.Files[id] = &pb.FileEntry{Id: &id, Type: pb.FdTypes_UNIXSK.Enum(), Usk: s[i]}
		dir.Tasks[0].Fds = append(dir.Tasks[0].Fds, &pb.FdinfoEntry{
			Id: &id, Fd: pb.Uint32(uint32(i)), Type: pb.FdTypes_UNIXSK.Enum(), Flags: pb.Uint32(0),
		})
	}
	s[2].Name = []byte("listener\x00")
	s[2].NameDir = pb.String("/tmp")
	return dir, s
}

func TestUnixSocketRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, s []*pb.UnixSkEntry, files map[string]fs.FileMode, names map[string]bool)
		want   string
	}{
		"type": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[0].Type = pb.Uint32(3)
		}, "fd 0: unix socket of type 3: not supported"},
		"service": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[1].Uflags = pb.Uint32(sock.UskService)
		}, "fd 1: unix socket 101 was the connection to CRIU's service: not supported"},
		"plugin": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[1].Uflags = pb.Uint32(4)
		}, "fd 1: unix socket 101 was dumped by a plugin of CRIU's, or inherited (flags 0x4): not supported"},
		"peer": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[1].Peer = pb.Uint32(7)
		}, "fd 1: unix socket 101 is connected to socket 7, which was not dumped: not supported"},
		"impossible": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[0].Peer, s[0].State, s[0].Type = pb.Uint32(0), pb.Uint32(uapi.TcpClose),
				pb.Uint32(uapi.SockDgram)
		}, "fd 1: unix socket 101 is connected to unix socket 100, which does not listen: the images contradict themselves"},
		"sends": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[0].Type, s[1].Type, s[1].Peer = pb.Uint32(uapi.SockDgram), pb.Uint32(uapi.SockDgram),
				pb.Uint32(0)
		}, "fd 0: unix socket 100 sends to unix socket 101, which cannot be reached by name: not supported"},
		"no such file": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode,
			_ map[string]bool) {
			inQueue(dir, uapi.ScmRights, 0x777)
		}, "file 0x777 in flight: files.img has no file 0x777"},
		"terminal": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			dir.Files[7] = &pb.FileEntry{Type: pb.FdTypes_TTY.Enum()}
			inQueue(dir, uapi.ScmRights, 7)
		}, "fd 1: unix socket 101 has a terminal in its queue (SCM_RIGHTS): not supported"},
		"epoll": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			set := &pb.EventpollFileEntry{Tfd: []*pb.EventpollTfdEntry{{Tfd: pb.Uint32(77)}}}
			dir.Files[7] = &pb.FileEntry{Type: pb.FdTypes_EVENTPOLL.Enum(), Epfd: set}
			inQueue(dir, uapi.ScmRights, 7)
		}, ": epoll set in flight with descriptor 77, which is closed: not supported"},
		"epoll, nested": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode,
			_ map[string]bool) {
			set := &pb.EventpollFileEntry{Tfd: []*pb.EventpollTfdEntry{{}}}
			dir.Files[7] = &pb.FileEntry{Type: pb.FdTypes_EVENTPOLL.Enum(), Epfd: set}
			dir.Tasks[0].Fds = dir.Tasks[0].Fds[2:]
			inQueue(dir, uapi.ScmRights, 7, 1000)
			dir.SkQueues = append(dir.SkQueues,
				&images.SkQueue{Entry: &pb.SkPacketEntry{IdFor: pb.Uint32(1000),
					Scm: []*pb.ScmEntry{{Type: pb.Uint32(uapi.ScmRights),
						Rights: []uint32{1001}}}}})
		}, "in flight: unix socket 101 has an epoll set in its queue that no task has open: not supported"},
		"owner in flight": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode,
			_ map[string]bool) {
			owned := &pb.EventfdFileEntry{Fown: &pb.FownEntry{Pid: &dir.Tasks[0].Pid,
				PidType: pb.Uint32(file.OwnerPid)}}
			dir.Files[7] = &pb.FileEntry{Type: pb.FdTypes_EVENTFD.Enum(), Efd: owned}
			inQueue(dir, uapi.ScmRights, 7)
		}, "fd 1: unix socket 101 has a file with an owner (F_SETOWN) in its queue that no task has open: not supported"},
		"too many": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			inQueue(dir, uapi.ScmRights, make([]uint32, uapi.MaxRights+1)...)
		}, "fd 1: unix socket 101 has something in its queue that is not a list of descriptors (SCM_RIGHTS): not supported"},
		"another message": {func(dir *images.Dir, _ []*pb.UnixSkEntry, _ map[string]fs.FileMode,
			_ map[string]bool) {
			inQueue(dir, 2, 1)
		}, "fd 1: unix socket 101 has something in its queue that is not a list of descriptors (SCM_RIGHTS): not supported"},
		"owner": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[0].Fown = &pb.FownEntry{Pid: pb.Uint32(5)}
		}, "fd 0: signals its owner 5 (F_SETOWN), which was not dumped: not supported"},
		"name": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[2].Name = make([]byte, 109)
		}, "fd 2: the name of the socket has 109 bytes, more than 108"},
		"twice": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[2].Ino = pb.Uint32(101)
		}, `fd 2: unix socket "listener": another file has its inode 101`},
		"in use": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, names map[string]bool) {
			s[2].Name, names["\x00abstract"] = []byte("\x00abstract"), true
		}, `fd 2: the name of unix socket "@abstract" is in use` + "\n  hint: end the process that has it"},
		"in the way": {func(_ *images.Dir, _ []*pb.UnixSkEntry, files map[string]fs.FileMode,
			_ map[string]bool) {
			files["/tmp/listener"] = 0o644
		}, "fd 2: /tmp/listener is in the way of a socket: it is none itself\n  hint: move it away"},
		"path in use": {func(_ *images.Dir, _ []*pb.UnixSkEntry, files map[string]fs.FileMode,
			names map[string]bool) {
			files["/tmp/listener"], names["/tmp/listener"] = fs.ModeSocket, true
		}, `fd 2: the name of unix socket "listener" is in use` + "\n  hint: end the process that has it"},
		"renamed": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[0].Peer, s[1].Peer = nil, nil
			s[0].State, s[0].Name = pb.Uint32(uapi.TcpListen), []byte("/tmp/listener\x00")
		}, `fd 2: unix socket "listener" has the name of another socket, so one of the two had been renamed, which CRIU does not dump`},
		"directory": {func(_ *images.Dir, _ []*pb.UnixSkEntry, files map[string]fs.FileMode,
			_ map[string]bool) {
			delete(files, "/tmp")
		}, `fd 2: /tmp is not a directory, which unix socket "listener" needs` +
			"\n  hint: make the directory again"},
		"relative": {func(_ *images.Dir, s []*pb.UnixSkEntry, _ map[string]fs.FileMode, _ map[string]bool) {
			s[2].NameDir = nil
		}, `fd 2: unix socket "listener": the directory of its name was not dumped`},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := withSockets(t)
			files, names := map[string]fs.FileMode{"/tmp": fs.ModeDir}, map[string]bool{}
			host := socketHost(dir, files, names)
			if _, err := buildSample(t, dir, host, &job.Options{}); err != nil {
				t.Fatal(err)
			}
			tc.change(dir, s, files, names)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// Buffers may be larger than everybody is allowed.
func TestSocketBuffersNeedNetAdmin(t *testing.T) {
	dir, _ := withSockets(t)
	host := socketHost(dir, map[string]fs.FileMode{"/tmp": fs.ModeDir}, nil)
	host.Caps &^= 1 << uapi.CapNetAdmin
	_, err := buildSample(t, dir, host, &job.Options{})
	wantRefusal(t, err, "unix socket 100: crpie lacks CAP_NET_ADMIN, without which its buffers are cut\n  hint: run crpie as root")
}

// What is inherited is not made; it must be of the same type.
func TestInheritedUnixSocket(t *testing.T) {
	dir, s := withSockets(t)
	dir.Tasks[0].Fds = dir.Tasks[0].Fds[:1]
	s[0].Peer = pb.Uint32(7) // was not dumped
	host := socketHost(dir, map[string]fs.FileMode{file.ProcFd(9): fs.ModeSocket}, nil)
	opts := &job.Options{Inherit: []job.Inherited{{FD: 9, Resource: "socket:[100]"}}}
	plan, err := buildSample(t, dir, host, opts)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	plan.Print(&text)
	if strings.Contains(text.String(), "unix socket 100") {
		t.Error(text.String())
	}
	host.SocketKind = func(int) (family, kind uint32) { return uapi.AfInet, uapi.SockStream }
	_, err = buildSample(t, dir, host, opts)
	wantRefusal(t, err, "--inherit-fd fd[9]:socket:[100]: descriptor 9 is not a unix socket of type 1")
}

// A peer that was not dumped is found again by its name, with --ext-unix-sk.
func TestExternalUnixSockets(t *testing.T) {
	const connected = "fd 0: unix socket 100 is connected to "
	for name, tc := range map[string]struct {
		name     string
		off      bool
		sockType uint32
		data     bool
		want     string
	}{
		"path":     {name: "/log\x00", sockType: uapi.SockDgram},
		"abstract": {name: "\x00log", sockType: uapi.SockStream},
		"data":     {name: "/log\x00", sockType: uapi.SockDgram, data: true},
		"no flag": {name: "/log\x00", sockType: uapi.SockDgram, off: true,
			want: connected + `unix socket "/log", which was not dumped` +
				"\n  hint: use --ext-unix-sk to connect it to the socket that has the name now"},
		"dead": {name: "/dead\x00", sockType: uapi.SockDgram,
			want: connected + `unix socket "/dead", which nobody has open` +
				"\n  hint: start the process that has it"},
		"no name": {sockType: uapi.SockDgram,
			want: connected + "socket 7, which was not dumped and has no name: not supported"},
		"relative": {name: "log\x00", sockType: uapi.SockDgram,
			want: connected + `unix socket "log", which was not dumped and whose directory is not known: not supported`},
		"stream with data": {name: "/log\x00", sockType: uapi.SockStream, data: true,
			want: `fd 0: unix socket 100 has data from unix socket "/log", which was not dumped: not supported`},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := withSockets(t)
			dir.Tasks[0].Fds = dir.Tasks[0].Fds[:1]
			s[0].Type, s[0].Peer = &tc.sockType, pb.Uint32(7)
			extern := &pb.UnixSkEntry{Ino: pb.Uint32(7), Uflags: pb.Uint32(sock.UskExtern),
				Type:  pb.Uint32(uapi.SockDgram),
				State: pb.Uint32(uapi.TcpListen), Name: []byte(tc.name)}
			dir.Files[7000] = &pb.FileEntry{Type: pb.FdTypes_UNIXSK.Enum(), Usk: extern}
			if tc.data {
				dir.SkQueues = []*images.SkQueue{{Entry: &pb.SkPacketEntry{IdFor: s[0].Id}}}
			}
			host := socketHost(dir, map[string]fs.FileMode{},
				map[string]bool{"/log": true, "\x00log": true})
			_, err := buildSample(t, dir, host, &job.Options{ExtUnix: !tc.off})
			if tc.want != "" {
				wantRefusal(t, err, tc.want)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A deleted socket is bound in a file system of its own: what has its path now does not matter.
func TestDeletedUnixSocket(t *testing.T) {
	dir, s := withSockets(t)
	s[2].Deleted = pb.Bool(true)
	host := socketHost(dir, map[string]fs.FileMode{}, map[string]bool{"/tmp/listener": true})
	if _, err := buildSample(t, dir, host, &job.Options{}); err != nil {
		t.Fatal(err)
	}
	host.Caps &^= 1 << uapi.CapSysChroot
	_, err := buildSample(t, dir, host, &job.Options{})
	wantRefusal(t, err, `fd 2: unix socket "listener" had been deleted, and crpie lacks CAP_SYS_CHROOT to name it so`)
}

// inQueue puts a control message into the queue of the socket that descriptor 1 is.
func inQueue(dir *images.Dir, kind uint32, rights ...uint32) {
	scm := []*pb.ScmEntry{{Type: &kind, Rights: rights}}
	dir.SkQueues = []*images.SkQueue{{Entry: &pb.SkPacketEntry{IdFor: pb.Uint32(1001), Scm: scm}}}
}

// socketHost has more files, and names of living sockets.
func socketHost(dir *images.Dir, files map[string]fs.FileMode, names map[string]bool) *host.Host {
	host := hosttest.New(dir)
	old := host.Stat
	host.Stat = func(path string) (fs.FileInfo, error) {
		if mode, ok := files[path]; ok {
			return hosttest.Info{Kind: mode}, nil
		}
		if path == "/tmp" {
			return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
		}
		return old(path)
	}
	host.UnixName = func(name string) bool { return names[name] }
	return host
}
