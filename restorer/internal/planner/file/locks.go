package file

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/internal/uapi"
)

// Kinds of locks in file_lock_entry.flag.
const (
	FlPosix = 1
	FlFlock = 2
	flOfd   = 4
	FlLease = 8
)

// CheckLocks refuses locks whose holder the images do not have.
func (p *Room) CheckLocks() {
	if p.Opts.NoLocks {
		return
	}
	type holder struct{ pid, fd int32 }
	holders := map[holder]bool{}
	for _, t := range p.Dir.Tasks {
		for _, fd := range t.Fds {
			holders[holder{int32(t.Pid), int32(fd.GetFd())}] = true
		}
	}
	for _, l := range p.Dir.Locks {
		where := fmt.Sprintf("task %d fd %d", l.GetPid(), l.GetFd())
		switch {
		case !holders[holder{l.GetPid(), l.GetFd()}]:
			p.Refuse(where, "", "filelocks.img has a lock of it, but it was not dumped")
		case !slices.Contains([]uint32{FlPosix, FlFlock, flOfd, FlLease}, l.GetFlag()):
			p.Refuse(where, "", "file lock of kind %#x: not supported", l.GetFlag())
		case l.GetFlag() == FlLease &&
			(l.GetType() == LeaseBreaking|uapi.FRdlck || l.GetType() == LeaseBreaking|uapi.FUnlck):
		case l.GetType() != uapi.FRdlck && l.GetType() != uapi.FWrlck:
			p.Refuse(where, "", "file lock of type %d, neither read nor write: not supported", l.GetType())
		}
	}
}

// Locks takes the task's locks when it has only its own descriptors: closing any other one of the same file would
// release them, fcntl(2).
func (t *Descriptors) Locks() {
	for _, l := range t.Dir.Locks {
		if t.Opts.NoLocks || l.GetPid() != int32(t.Img.Pid) {
			continue
		}
		fd, exclusive := uint64(l.GetFd()), l.GetType() == uapi.FWrlck
		// SEEK_SET
		flock := t.Prog.Arena.Words(uint64(l.GetType()), uint64(l.GetStart()), uint64(l.GetLen()), 0)
		switch {
		case l.GetFlag() == FlPosix:
			t.Prog.Sys("lock of a range", uapi.SysFcntl, fd, uapi.FSetlk, flock)
		case l.GetFlag() == flOfd:
			t.Prog.Sys("lock of a range by the description", uapi.SysFcntl, fd, uapi.FOfdSetlk, flock)
		case l.GetFlag() == FlLease: // leases
		case exclusive:
			t.Prog.Sys("exclusive lock", uapi.SysFlock, fd, uapi.LockEx|uapi.LockNb)
		default:
			t.Prog.Sys("shared lock", uapi.SysFlock, fd, uapi.LockSh|uapi.LockNb)
		}
	}
}
