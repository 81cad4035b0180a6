package mem

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// System V objects are in the images if the tasks had an IPC namespace of their own, ipc_namespaces(7); CRIU refuses to
// dump tasks that use those of its own namespace. The zygote enters a new namespace and gives it the same settings and
// objects under the same ids, and the tasks are born in it.

// sysvipc(7) and the calls of each kind.
const (
	// in shm_perm.mode, shmctl(2)
	shmDest   = 0o1000
	shmLocked = 0o2000
)

// IpcNamespaceID is the IPC namespace in which every task has to have been: the root task's if it is in the images,
// otherwise the one that CRIU was in.
func (p *Room) IpcNamespaceID() uint32 {
	if id := p.Dir.Tasks[0].Ids.GetIpcNsId(); p.Dir.IPC[id] != nil {
		return id
	}
	return p.Dir.Inventory.GetRootIds().GetIpcNsId()
}

// Ipc gives the dumped IPC namespace, or nil: of one that the tasks enter nothing is made.
func (p *Room) Ipc() *images.IPC {
	if p.joinsIpc() {
		return nil
	}
	return p.Dir.IPC[p.IpcNamespaceID()]
}

func (p *Room) joinsIpc() bool { return p.Own.Joins(uapi.CloneNewipc) }

// CheckIPC refuses what a new namespace cannot have.
func (p *Room) CheckIPC() {
	ns := p.Ipc()
	have, total := map[uint64]bool{}, uint64(0)
	if ns != nil {
		if ns.Vars.GetShmRmidForced() != 0 {
			p.Refuse("IPC namespace", "", "kernel.shm_rmid_forced is set: not supported")
		}
		for _, s := range ns.Shm {
			p.checkSysv(s)
			have[uint64(s.GetDesc().GetId())] = true
			total += min(s.GetSize(), plan.TaskSizeMax)
		}
		if total > plan.TaskSizeMax {
			p.Refuse("IPC namespace", "", "SysV shared memory of %d bytes", total)
		}
	}
	for _, t := range p.Dir.Tasks {
		for _, v := range t.Mm.GetVmas() {
			if v.GetStatus()&images.VmaSysvIPC != 0 && !have[v.GetShmid()] {
				what := "is not in the images"
				if p.joinsIpc() {
					what = "is not in the IPC namespace that the tasks enter: not supported"
				}
				p.Refuse(fmt.Sprintf("task %d memory %x-%x", t.Pid, v.GetStart(), v.GetEnd()), "",
					"SysV shared memory %d %s", v.GetShmid(), what)
			}
		}
	}
}

// LeaveObjects warns of what was in a namespace in whose place the tasks enter another one.
func (p *Room) LeaveObjects() {
	if ns := p.Dir.IPC[p.IpcNamespaceID()]; ns != nil && len(ns.Shm)+len(ns.Sems)+len(ns.Queues) > 0 {
		p.Warn("IPC namespace", "the tasks enter another one; not made are of System V: shared memory segments: %d, "+
			"sets of semaphores: %d, message queues: %d", len(ns.Shm), len(ns.Sems), len(ns.Queues))
	}
}

// checkSysv refuses a segment that cannot be made, before anything is.
func (p *Room) checkSysv(s *pb.IpcShmEntry) {
	where := fmt.Sprintf("SysV shared memory %d", s.GetDesc().GetId())
	switch {
	case s.GetSize() == 0 || s.GetSize() > plan.TaskSizeMax:
		p.Refuse(where, "", "its size is %d", s.GetSize())
	case s.GetHugetlbFlag() != 0:
		p.Refuse(where, "", "huge pages (SHM_HUGETLB): not supported")
	case !s.GetInPagemaps():
		p.Refuse(where, "dump with CRIU 3.0 or newer", "its contents are in an old format: not supported")
	}
}

// IpcNamespace plans what is in the namespace; MakeShmem attaches and fills shared memory, once mappings can be made.
func (p *Room) IpcNamespace() {
	ns := p.Ipc()
	p.ipcSettings(ns)
	for _, id := range p.shmids() {
		if e := p.shmem[id].sysv; e != nil {
			p.createSysv(e)
		}
	}
	for _, s := range ns.Sems {
		p.semaphores(s)
	}
	for _, q := range ns.Queues {
		p.messageQueue(q)
	}
}

// ipcSettings plans the limits of an IPC namespace, which are files in /proc/sys, ipc_namespaces(7).
func (p *Room) ipcSettings(ns *images.IPC) {
	v := ns.Vars
	if sem := v.GetSemCtls(); len(sem) == 4 {
		p.setting("kernel/sem", fmt.Sprintf("%d %d %d %d", sem[0], sem[1], sem[2], sem[3]))
	}
	for _, s := range []struct {
		name  string
		value uint64
	}{
		{"kernel/msgmax", uint64(v.GetMsgCtlmax())}, {"kernel/msgmnb", uint64(v.GetMsgCtlmnb())},
		{"kernel/msgmni", uint64(v.GetMsgCtlmni())}, {"kernel/shmmax", v.GetShmCtlmax()},
		{"kernel/shmall", v.GetShmCtlall()}, {"kernel/shmmni", uint64(v.GetShmCtlmni())},
		{"fs/mqueue/queues_max", uint64(v.GetMqQueuesMax())}, {"fs/mqueue/msg_max", uint64(v.GetMqMsgMax())},
		{"fs/mqueue/msgsize_max", uint64(v.GetMqMsgsizeMax())},
	} {
		p.setting(s.name, fmt.Sprint(s.value))
	}
	if v.MqMsgDefault != nil {
		p.setting("fs/mqueue/msg_default", fmt.Sprint(v.GetMqMsgDefault()))
	}
	if v.MqMsgsizeDefault != nil {
		p.setting("fs/mqueue/msgsize_default", fmt.Sprint(v.GetMqMsgsizeDefault()))
	}
}

// setting writes a file of /proc/sys: those of IPC are of the writer's namespace.
func (p *Room) setting(name, value string) {
	fd, s, what := p.Fds.Scratch(), p.Shared, name+" = "+value
	s.Open(fd, true, what, uapi.SysOpenat, uapi.AtFdcwd, s.Arena.String("/proc/sys/"+name), uapi.OWronly)
	s.Want(int64(len(value)), what, uapi.SysWrite, uint64(fd), s.Arena.String(value), uint64(len(value)))
	s.Sys("", uapi.SysClose, uint64(fd))
}

// nextID sets the id of the next object of a kind, Documentation/admin-guide/sysctl/kernel.rst.
func (p *Room) nextID(kind string, d *pb.IpcDescEntry) {
	p.setting("kernel/"+kind+"_next_id", fmt.Sprint(d.GetId()))
}

// creation gives the flags with which an object is made. Its creator will be root, as after criu restore.
func creation(d *pb.IpcDescEntry) uint64 {
	return uint64(d.GetMode()&0o777) | uapi.IpcCreat | uapi.IpcExcl
}

// owner lays out the beginning of shmid64_ds, semid64_ds and msqid64_ds, include/uapi/asm-generic/ipcbuf.h.
func owner(d *pb.IpcDescEntry) []byte {
	const size = 120 // of the largest, msqid64_ds
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b[4:], d.GetUid())
	binary.LittleEndian.PutUint32(b[8:], d.GetGid())
	binary.LittleEndian.PutUint32(b[20:], d.GetMode()&0o777)
	return b
}

// createSysv makes System V shared memory.
func (p *Room) createSysv(e *pb.IpcShmEntry) {
	d := e.GetDesc()
	p.nextID("shm", d)
	p.Shared.Want(int64(d.GetId()), sysvName(d), uapi.SysShmget, uint64(d.GetKey()), e.GetSize(), creation(d))
}

func sysvName(d *pb.IpcDescEntry) string { return fmt.Sprintf("SysV shared memory %d", d.GetId()) }

// attachSysv attaches it at an address of the zygote's.
func (p *Room) attachSysv(e *pb.IpcShmEntry, addr uint64) {
	d, s := e.GetDesc(), p.Shared
	id, what := uint64(d.GetId()), sysvName(d)
	s.Sys(what, uapi.SysShmctl, id, uapi.IpcSet, s.Arena.Bytes(owner(d)))
	s.Want(int64(addr), what, uapi.SysShmat, id, addr, 0)
	if d.GetMode()&shmLocked != 0 {
		s.Sys(what+" is locked", uapi.SysShmctl, id, uapi.ShmLock)
	}
	if d.GetMode()&shmDest != 0 { // goes away with the last task that has it
		s.Sys(what+" is removed", uapi.SysShmctl, id, uapi.IpcRmid)
	}
}

// sysvShmem adds the shared memory of the IPC namespace, which the zygote makes.
func (p *Room) sysvShmem() {
	ns := p.Ipc()
	if ns == nil {
		return
	}
	for _, e := range ns.Shm {
		id := uint64(e.GetDesc().GetId())
		if _, twice := p.shmem[id]; !twice {
			p.shmem[id] = sharedMemory{size: memory.PageUp(e.GetSize()), order: len(p.shmem), sysv: e}
		}
	}
}

// semaphores makes a set under its number and gives the values, before the owner, who could be somebody else.
func (p *Room) semaphores(sem images.Semaphores) {
	d, n, s := sem.Entry.GetDesc(), sem.Entry.GetNsems(), p.Shared
	id, what := uint64(d.GetId()), fmt.Sprintf("SysV semaphores %d", d.GetId())
	values := p.Payload(what, sem.Values)
	p.nextID("sem", d)
	s.Want(int64(id), what, uapi.SysSemget, uint64(d.GetKey()), uint64(n), creation(d))
	s.Sys(what, uapi.SysSemctl, id, 0, uapi.Setall, s.Arena.Bytes(values))
	s.Sys(what, uapi.SysSemctl, id, 0, uapi.IpcSet, s.Arena.Bytes(owner(d)))
}

// messageQueue makes a queue under its number, sets its size, and sends what was in it. IPC_NOWAIT: a queue that is
// smaller than its contents must not block the restore.
func (p *Room) messageQueue(q images.MessageQueue) {
	d, s := q.Entry.GetDesc(), p.Shared
	id, what := uint64(d.GetId()), fmt.Sprintf("SysV message queue %d", d.GetId())
	p.nextID("msg", d)
	s.Want(int64(id), what, uapi.SysMsgget, uint64(d.GetKey()), creation(d))
	settings := owner(d)
	const qbytes = 88 // where msqid64_ds has it
	binary.LittleEndian.PutUint64(settings[qbytes:], uint64(q.Entry.GetQbytes()))
	s.Sys(what, uapi.SysMsgctl, id, uapi.IpcSet, s.Arena.Bytes(settings))
	for _, m := range q.Messages {
		message := append(binary.LittleEndian.AppendUint64(nil, m.Type), m.Text...)
		s.Sys(what, uapi.SysMsgsnd, id, s.Arena.Bytes(message), uint64(len(m.Text)), uapi.IpcNowait)
	}
}
