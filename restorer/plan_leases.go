package restorer

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
)

// A lease that somebody is about to break stays until its holder agrees or /proc/sys/fs/lease-break-time is over, fcntl(2). The images
// have what is to be left of it, and whoever waited in open(2) is waiting again after a restore, or has been told
// EWOULDBLOCK. So the lease is taken as it must have been, and broken once more.

// leaseBreaking is CRIU's mark in file_lock_entry.type beside what is to be left of a lease.
const leaseBreaking = 4

// lease is one of a task's.
type lease struct {
	fd            uint64
	file          string // as sameAs names it
	before, after uint32 // equal, unless somebody is about to break it
}

// leasesOf lists the leases on the descriptors that a task restores.
func (p *fileRoom) leasesOf(owner *images.Task) (all []lease) {
	for _, l := range p.dir.Locks {
		holder := p.findTask(l.GetPid())
		if p.opts.NoLocks || l.GetFlag() != flLease || holder == nil || tableOwner(holder) != owner {
			continue
		}
		for _, fd := range holder.Fds {
			if fd.GetFd() == uint32(l.GetFd()) {
				flags := p.dir.Files[fd.GetId()].GetReg().GetFlags()
				all = append(all, lease{uint64(l.GetFd()), p.sameAs(fd.GetId()), leaseBefore(l.GetType(), flags), l.GetType() &^ leaseBreaking})
			}
		}
	}
	return all
}

// leaseBefore: only who has a file open for reading may have a lease for reading.
func leaseBefore(kind, flags uint32) uint32 {
	switch {
	case kind&leaseBreaking == 0:
		return kind
	case kind == leaseBreaking|fUnlck && flags&oAccmode == oRdonly:
		return fRdlck
	}
	return fWrlck
}

func (l lease) breaking() bool { return l.before != l.after }

// leases takes the task's leases, and breaks them when everybody has those of the same file: there are no new ones then.
func (t *filePlanner) leases() {
	own := t.leasesOf(t.img)
	for _, l := range own {
		t.takeLease(l)
	}
	if !slices.ContainsFunc(own, lease.breaking) {
		return
	}
	t.jobTask.mark("it has its leases", markLeases)
	for _, other := range t.dir.Tasks {
		if other != t.img && t.sharesLeased(other, own) {
			t.follow(fmt.Sprintf("task %d has its leases", other.Pid), other, markLeases)
		}
	}
	for _, l := range own {
		t.breakLease(l)
	}
}

// sharesLeased reports whether another task has a lease of a file of which this one has one that is about to be broken.
func (t *filePlanner) sharesLeased(other *images.Task, own []lease) bool {
	return slices.ContainsFunc(t.leasesOf(other), func(theirs lease) bool {
		return slices.ContainsFunc(own, func(l lease) bool { return l.breaking() && l.file == theirs.file })
	})
}

// takeLease makes nobody the owner, until phaseOwners, if the holder has been told already that somebody is about to break it.
func (t *filePlanner) takeLease(l lease) {
	t.prog.sys("lease", sysFcntl, l.fd, fSetlease, uint64(l.before))
	if l.breaking() {
		t.prog.sys("nobody is told once more", sysFcntl, l.fd, fSetown, 0)
	}
}

// breakLease opens the file as whoever is about to break the lease.
func (t *filePlanner) breakLease(l lease) {
	if !l.breaking() {
		return
	}
	const ewouldblock = -11
	how := uint64(oRdonly)
	if l.after == fUnlck {
		how = oWronly
	}
	t.prog.want(ewouldblock, "lease that is about to be broken", sysOpenat, atFdcwd, t.prog.arena.string(procFd(int(l.fd))),
		how|oNonblock)
}
