package file

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A lease that is about to be broken stays until its holder agrees or /proc/sys/fs/lease-break-time is over,
// fcntl(2). The images have what is to be left of it, and a task that waited in open(2) waits again after a restore,
// or has been told EWOULDBLOCK. So the lease is taken as it must have been, and broken once more.

// LeaseBreaking is CRIU's mark in file_lock_entry.type, beside the type that the lease is to be reduced to.
const LeaseBreaking = 4

// lease is one of a task's.
type lease struct {
	fd            uint64
	file          string // as sameAs names it
	before, after uint32 // equal, unless it is about to be broken
}

// leasesOf lists the leases on the descriptors that a task restores.
func (p *Room) leasesOf(owner *images.Task) (all []lease) {
	for _, l := range p.Dir.Locks {
		holder := p.FindTask(l.GetPid())
		if p.Opts.NoLocks || l.GetFlag() != FlLease || holder == nil || job.TableOwner(holder) != owner {
			continue
		}
		for _, fd := range holder.Fds {
			if fd.GetFd() == uint32(l.GetFd()) {
				flags := p.Dir.Files[fd.GetId()].GetReg().GetFlags()
				all = append(all, lease{uint64(l.GetFd()), p.SameAs(fd.GetId()),
					leaseBefore(l.GetType(), flags),
					l.GetType() &^ LeaseBreaking})
			}
		}
	}
	return all
}

// leaseBefore gives the lease before it was broken; a lease for reading needs a file that is open for reading.
func leaseBefore(kind, flags uint32) uint32 {
	switch {
	case kind&LeaseBreaking == 0:
		return kind
	case kind == LeaseBreaking|uapi.FUnlck && flags&uapi.OAccmode == uapi.ORdonly:
		return uapi.FRdlck
	}
	return uapi.FWrlck
}

func (l lease) breaking() bool { return l.before != l.after }

// Leases takes the task's leases, and breaks them when everybody has those of the same file: there are no new ones
// then.
func (t *Descriptors) Leases() {
	own := t.leasesOf(t.Img)
	for _, l := range own {
		t.takeLease(l)
	}
	if !slices.ContainsFunc(own, lease.breaking) {
		return
	}
	t.Process.Mark("it has its leases", abi.MarkLeases)
	for _, other := range t.Dir.Tasks {
		if other != t.Img && t.sharesLeased(other, own) {
			t.Follow(fmt.Sprintf("task %d has its leases", other.Pid), other, abi.MarkLeases)
		}
	}
	for _, l := range own {
		t.breakLease(l)
	}
}

// sharesLeased reports whether another task has a lease of a file of which this one has one that is about to be broken.
func (t *Descriptors) sharesLeased(other *images.Task, own []lease) bool {
	return slices.ContainsFunc(t.leasesOf(other), func(theirs lease) bool {
		return slices.ContainsFunc(own, func(l lease) bool { return l.breaking() && l.file == theirs.file })
	})
}

// takeLease leaves the lease without an owner, until PhaseOwners, if the holder has been told already that it is about
// to break it.
func (t *Descriptors) takeLease(l lease) {
	t.Prog.Sys("lease", uapi.SysFcntl, l.fd, uapi.FSetlease, uint64(l.before))
	if l.breaking() {
		t.Prog.Sys("nobody is told once more", uapi.SysFcntl, l.fd, uapi.FSetown, 0)
	}
}

// breakLease opens the file as the task did that is about to break the lease.
func (t *Descriptors) breakLease(l lease) {
	if !l.breaking() {
		return
	}
	const ewouldblock = -11
	how := uint64(uapi.ORdonly)
	if l.after == uapi.FUnlck {
		how = uapi.OWronly
	}
	t.Prog.Want(ewouldblock, "lease that is about to be broken", uapi.SysOpenat, uapi.AtFdcwd,
		t.Prog.Arena.String(ProcFd(int(l.fd))),
		how|uapi.ONonblock)
}
