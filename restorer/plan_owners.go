package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

// Types of owners, fcntl(2) F_SETOWN_EX.
const (
	ownerTid = iota
	ownerPid
	ownerPgrp
)

// owner restores whom a description signals and how (F_SETOWN, F_SETSIG). The owner may be a task that does not exist yet,
// so it is set when all do.
func (f *filePlanner) owner(fd *pb.FdinfoEntry, o *pb.FownEntry) {
	if o.GetSignum() != 0 {
		f.prog.sys("signal of its owner", sysFcntl, uint64(fd.GetFd()), fSetsig, uint64(o.GetSignum()))
	}
	switch {
	case o.GetPid() == 0:
	case !f.ownerExists(o):
		f.refuse(f.fdWhere(fd), "", "signals its owner %d (F_SETOWN), which was not dumped: not supported", o.GetPid())
	case f.forTasks(fd): // by the first task that has it
		f.handOver(fd.GetId(), phaseOwners, setOwner(o))
	default:
		set := setOwner(o)
		f.later(phaseOwners, func(prog *program) { set(prog, uint64(fd.GetFd())) })
	}
}

// forTasks reports whether a descriptor is one that tasks inherit and make their own of.
func (f *filePlanner) forTasks(fd *pb.FdinfoEntry) bool {
	number, ok := f.sharedFDs[fd.GetId()]
	return f.prog == f.shared || ok && number == int(fd.GetFd())
}

// ownerExists reports whether the owner is restored, too.
func (p *fileRoom) ownerExists(o *pb.FownEntry) bool {
	for _, t := range p.dir.Tasks {
		switch o.GetPidType() {
		case ownerTid:
			for _, th := range t.Threads {
				if th.Tid == o.GetPid() {
					return true
				}
			}
		case ownerPid, ownerPgrp:
			if t.Pid == o.GetPid() && (o.GetPidType() == ownerPid || t.Pgid == t.Pid) {
				return true
			}
		}
	}
	return false
}

// owners sets the owners of the task's descriptors, once every task exists and before it loses its privileges.
func (f *filePlanner) owners() {
	if f.waits(phaseOwners) {
		f.prog.sys("keep capabilities while ids change", sysPrctl, prSetSecurebits, secbitNoSetuidFixup|secbitKeepCaps)
		f.enter(phaseOwners)
	}
}

// setOwner sets the owner of a descriptor. The kernel remembers the uids of the process that sets an owner and later checks
// with them whether it may be signalled, fcntl(2).
func setOwner(o *pb.FownEntry) func(prog *program, fd uint64) {
	return func(prog *program, fd uint64) {
		const same = ^uint64(0)
		prog.sys("uids that the owner was set with", sysSetresuid, uint64(o.GetUid()), uint64(o.GetEuid()), same)
		var ex [8]byte // struct f_owner_ex
		binary.LittleEndian.PutUint32(ex[0:], o.GetPidType())
		binary.LittleEndian.PutUint32(ex[4:], o.GetPid())
		prog.sys(fmt.Sprintf("owner of fd %d", fd), sysFcntl, fd, fSetownEx, prog.arena.bytes(ex[:]))
	}
}
