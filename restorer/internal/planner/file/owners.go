package file

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Types of owners, fcntl(2) F_SETOWN_EX.
const (
	ownerTid = iota
	OwnerPid
	ownerPgrp
)

// Owner restores which process a description signals, and how (F_SETOWN, F_SETSIG). The owner may be a task that does
// not exist yet, so it is set when all do.
func (f *Descriptors) Owner(fd *pb.FdinfoEntry, o *pb.FownEntry) {
	if o.GetSignum() != 0 {
		f.Prog.Sys("signal of its owner", uapi.SysFcntl, uint64(fd.GetFd()), uapi.FSetsig,
			uint64(o.GetSignum()))
	}
	switch {
	case o.GetPid() == 0:
	case !f.ownerExists(o):
		f.Refuse(f.FdWhere(fd), "", "signals its owner %d (F_SETOWN), which was not dumped: not supported",
			o.GetPid())
	case f.forTasks(fd): // by the first task that has it
		f.HandOver(fd.GetId(), job.PhaseOwners, setOwner(o))
	default:
		set := setOwner(o)
		f.Later(job.PhaseOwners, func(prog *plan.Program) { set(prog, uint64(fd.GetFd())) })
	}
}

// forTasks reports whether a descriptor is one that tasks inherit and make their own of.
func (f *Descriptors) forTasks(fd *pb.FdinfoEntry) bool {
	number, ok := f.SharedFDs[fd.GetId()]
	return f.Prog == f.Shared || ok && number == int(fd.GetFd())
}

// ownerExists reports whether the owner is restored, too.
func (p *Room) ownerExists(o *pb.FownEntry) bool {
	for _, t := range p.Dir.Tasks {
		switch o.GetPidType() {
		case ownerTid:
			for _, th := range t.Threads {
				if th.Tid == o.GetPid() {
					return true
				}
			}
		case OwnerPid, ownerPgrp:
			if t.Pid == o.GetPid() && (o.GetPidType() == OwnerPid || t.Pgid == t.Pid) {
				return true
			}
		}
	}
	return false
}

// Owners sets the owners of a task's descriptors, once every task exists and before it loses its privileges.
func Owners(of *job.Process) {
	if of.Waits(job.PhaseOwners) {
		of.Prog.Sys("keep capabilities while ids change", uapi.SysPrctl, uapi.PrSetSecurebits,
			uapi.SecbitNoSetuidFixup|uapi.SecbitKeepCaps)
		of.Enter(job.PhaseOwners)
	}
}

// setOwner sets the owner of a descriptor. The kernel remembers the uids of the process that sets an owner and later
// checks with them whether it may be signalled, fcntl(2).
func setOwner(o *pb.FownEntry) func(prog *plan.Program, fd uint64) {
	return func(prog *plan.Program, fd uint64) {
		const same = ^uint64(0)
		prog.Sys("uids that the owner was set with", uapi.SysSetresuid, uint64(o.GetUid()),
			uint64(o.GetEuid()), same)
		var ex [8]byte // struct f_owner_ex
		binary.LittleEndian.PutUint32(ex[0:], o.GetPidType())
		binary.LittleEndian.PutUint32(ex[4:], o.GetPid())
		prog.Sys(fmt.Sprintf("owner of fd %d", fd), uapi.SysFcntl, fd, uapi.FSetownEx, prog.Arena.Bytes(ex[:]))
	}
}
