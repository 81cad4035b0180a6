package restorer

import (
	"fmt"
	"slices"
)

// Kinds of locks in file_lock_entry.flag.
const (
	flPosix = 1
	flFlock = 2
	flOfd   = 4
	flLease = 8
)

// fcntl(2) and flock(2).
const (
	fSetlk    = 6
	fOfdSetlk = 37
	fSetlease = 1024
	fRdlck    = 0
	fWrlck    = 1
	fUnlck    = 2
	lockSh    = 1
	lockEx    = 2
	lockNb    = 4
)

// checkLocks refuses locks whose holder the images do not have.
func (p *fileRoom) checkLocks() {
	if p.opts.NoLocks {
		return
	}
	type holder struct{ pid, fd int32 }
	holders := map[holder]bool{}
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			holders[holder{int32(t.Pid), int32(fd.GetFd())}] = true
		}
	}
	for _, l := range p.dir.Locks {
		where := fmt.Sprintf("task %d fd %d", l.GetPid(), l.GetFd())
		switch {
		case !holders[holder{l.GetPid(), l.GetFd()}]:
			p.refuse(where, "", "filelocks.img has a lock of it, but it was not dumped")
		case !slices.Contains([]uint32{flPosix, flFlock, flOfd, flLease}, l.GetFlag()):
			p.refuse(where, "", "file lock of kind %#x: not supported", l.GetFlag())
		case l.GetFlag() == flLease && (l.GetType() == leaseBreaking|fRdlck || l.GetType() == leaseBreaking|fUnlck):
		case l.GetType() != fRdlck && l.GetType() != fWrlck:
			p.refuse(where, "", "file lock of type %d, neither read nor write: not supported", l.GetType())
		}
	}
}

// locks takes the task's locks when it has only its own descriptors: closing any other one of the same file would release
// them, fcntl(2).
func (t *filePlanner) locks() {
	for _, l := range t.dir.Locks {
		if t.opts.NoLocks || l.GetPid() != int32(t.img.Pid) {
			continue
		}
		fd, exclusive := uint64(l.GetFd()), l.GetType() == fWrlck
		flock := t.prog.arena.words(uint64(l.GetType()), uint64(l.GetStart()), uint64(l.GetLen()), 0) // SEEK_SET
		switch {
		case l.GetFlag() == flPosix:
			t.prog.sys("lock of a range", sysFcntl, fd, fSetlk, flock)
		case l.GetFlag() == flOfd:
			t.prog.sys("lock of a range by the description", sysFcntl, fd, fOfdSetlk, flock)
		case l.GetFlag() == flLease: // leases
		case exclusive:
			t.prog.sys("exclusive lock", sysFlock, fd, lockEx|lockNb)
		default:
			t.prog.sys("shared lock", sysFlock, fd, lockSh|lockNb)
		}
	}
}
