package restorer

import (
	"fmt"

	file_lock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
)

// Kinds of locks in file_lock_entry.flag.
const (
	flPosix = 1
	flFlock = 2
	flOfd   = 4
)

// fcntl(2) and flock(2).
const (
	fSetlk    = 6
	fOfdSetlk = 37
	fRdlck    = 0
	fWrlck    = 1
	lockSh    = 1
	lockEx    = 2
	lockNb    = 4
)

// checkLocks refuses locks whose holder the images do not have.
func (p *planner) checkLocks() {
	for _, l := range p.dir.Locks {
		where := fmt.Sprintf("task %d fd %d", l.GetPid(), l.GetFd())
		switch {
		case !p.holdsLock(l):
			p.refuse(where, "", "filelocks.img has a lock of it, but it was not dumped")
		case l.GetFlag() != flPosix && l.GetFlag() != flFlock && l.GetFlag() != flOfd:
			p.refuse(where, "", "file lock of kind %#x, such as a lease: not supported", l.GetFlag())
		case l.GetType() != fRdlck && l.GetType() != fWrlck:
			p.refuse(where, "", "file lock of type %d, neither read nor write: not supported", l.GetType())
		}
	}
}

func (p *planner) holdsLock(l *file_lock.FileLockEntry) bool {
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			if int32(t.Pid) == l.GetPid() && int32(fd.GetFd()) == l.GetFd() {
				return true
			}
		}
	}
	return false
}

// locks takes the task's locks when it has only its own descriptors: closing any other one of the same file would release
// them, fcntl(2).
func (t *taskPlanner) locks() {
	for _, l := range t.dir.Locks {
		if l.GetPid() != int32(t.img.Pid) {
			continue
		}
		fd, exclusive := uint64(l.GetFd()), l.GetType() == fWrlck
		flock := t.prog.arena.words(uint64(l.GetType()), uint64(l.GetStart()), uint64(l.GetLen()), 0) // SEEK_SET
		switch {
		case l.GetFlag() == flPosix:
			t.prog.sys("lock of a range", sysFcntl, fd, fSetlk, flock)
		case l.GetFlag() == flOfd:
			t.prog.sys("lock of a range by the description", sysFcntl, fd, fOfdSetlk, flock)
		case exclusive:
			t.prog.sys("exclusive lock", sysFlock, fd, lockEx|lockNb)
		default:
			t.prog.sys("shared lock", sysFlock, fd, lockSh|lockNb)
		}
	}
}
