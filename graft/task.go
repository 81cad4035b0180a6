package graft

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// taskGraft is the graft of one task.
type taskGraft struct {
	*grafter
	img    *images.Task
	at     addresses
	image  *blob.Image
	arena  *memory.Arena
	entry  uint64 // graft_entry
	leave  []byte // instructions of graft_leave
	thread uint64 // address of the first struct graft_thread
	record abi.GraftTask
}

// task grafts onto one task: it chooses addresses, fills the memory, and writes the images that change.
func (g *grafter) task(img *images.Task) error {
	t := &taskGraft{grafter: g, img: img}
	if err := t.layOut(); err != nil {
		return err
	}
	t.fillArena()
	t.at.end = memory.PageUp(t.arena.End())
	t.record.BlobSize = t.at.end - t.at.blob
	t.record.Put(t.arena.At(t.at.arena))
	if err := t.cores(); err != nil {
		return err
	}
	if err := t.mm(); err != nil {
		return err
	}
	if err := t.pagemap(); err != nil {
		return err
	}
	g.describeCode(t.image)
	if err := t.supervise(); err != nil {
		return err
	}
	g.plan.Provenance.Tasks = append(g.plan.Provenance.Tasks, GraftedTask{
		Pid: img.Pid, Comm: img.Core.GetTc().GetComm(), Threads: len(img.Threads), Address: hexAddr(t.at.leave),
		Blob: hexAddr(t.at.blob), Size: t.at.end - t.at.leave, Resident: t.residentNames(img.Pid),
	})
	return nil
}

// layOut chooses the addresses and relocates the blob. How long the arena is depends on no address.
func (t *taskGraft) layOut() error {
	threads := len(t.img.Threads)
	timers := len(t.timers())
	trial := &taskGraft{grafter: t.grafter, img: t.img, at: lay(0, t.layout.Size(), threads, timers),
		image: &blob.Image{}}
	trial.fillArena()
	base, err := findGap(t.img, memory.PageUp(trial.arena.End()))
	if err != nil {
		return err
	}
	t.at = lay(base, t.layout.Size(), threads, timers)
	if t.image, err = t.layout.Only(t.runs).Relocate(blob.Addr(t.at.blob)); err != nil {
		return err
	}
	t.fillSlots()
	if err := t.withResident(); err != nil {
		return err
	}
	entry, ok := t.image.CoreSymbol("graft_entry")
	from, ok2 := t.image.CoreSymbol("graft_leave")
	to, ok3 := t.image.CoreSymbol("graft_leave_end")
	if t.leave = t.image.Bytes(from, uint64(to-from)); !ok || !ok2 || !ok3 || len(t.leave) == 0 ||
		len(t.leave) > pageSize {
		return errors.New("the core has no entry: graft/core/graft_amd64.o is not what its sources build")
	}
	t.entry = uint64(entry)
	return nil
}

// runs reports whether a plugin runs in the task.
func (t *taskGraft) runs(plugin int) bool { return t.runsIn[plugin][t.img.Pid] }

// fillArena lays out what the core reads: struct graft_task first.
func (t *taskGraft) fillArena() {
	t.arena = memory.NewArena(t.at.arena)
	t.arena.Reserve(abi.GraftTaskSize)
	threads := make([]abi.GraftThread, len(t.img.Threads))
	for i := range t.img.Threads {
		threads[i] = t.describeThread(i)
	}
	t.thread = memory.Records(t.arena, threads)
	t.record = t.describe()
	t.record.Put(t.arena.At(t.at.arena))
}

func (t *taskGraft) describeThread(i int) abi.GraftThread {
	th := &t.img.Threads[i]
	return abi.GraftThread{
		Task: t.at.arena, Tid: int32(th.Tid), Index: uint32(i), Frame: t.at.frame(i), Slot: t.at.slot(i),
		Sigmask: sigmask(t.img, th), Gregs: gregs(th.Core), Regs: t.at.regs(i),
	}
}

// timers are those of the task, as hooks see them.
func (t *taskGraft) timers() []abi.Timer { return taskview.TimersOf(t.img.Core.GetTc().GetTimers()) }

// lent is what hooks may change: registers of each thread, timers, and the timers as they are set.
func (t *taskGraft) lent() []byte {
	a := memory.NewArena(t.at.lent)
	var regs []abi.Regs
	for i := range t.img.Threads {
		regs = append(regs, taskview.RegsOf(t.img.Threads[i].Core))
	}
	memory.Records(a, regs)
	memory.Records(a, t.timers())
	memory.Records(a, t.timers())
	return a.Contents()
}

// sigmask is the mask that the thread had; CRIU keeps the leader's in the task as well.
func sigmask(t *images.Task, th *images.Thread) uint64 {
	if tc := th.Core.GetThreadCore(); tc.BlkSigset != nil {
		return tc.GetBlkSigset()
	}
	return t.Core.GetTc().GetBlkSigset()
}

// gregs are the registers in the order of struct sigcontext (asm/sigcontext.h).
func gregs(c *pb.CoreEntry) [abi.GraftNrGregs]uint64 {
	r := c.GetThreadInfo().GetGpregs()
	segments := r.GetCs()&0xffff | r.GetGs()&0xffff<<16 | r.GetFs()&0xffff<<32 | r.GetSs()&0xffff<<48
	return [...]uint64{
		r.GetR8(), r.GetR9(), r.GetR10(), r.GetR11(), r.GetR12(), r.GetR13(), r.GetR14(), r.GetR15(),
		r.GetDi(), r.GetSi(),
		r.GetBp(), r.GetBx(), r.GetDx(), r.GetAx(), r.GetCx(), r.GetSp(), r.GetIp(), r.GetFlags(), segments,
	}
}

// describe gives struct graft_task, whose strings and arrays it lays out. The size of the blob is known when all is
// laid out.
func (t *taskGraft) describe() abi.GraftTask {
	task := abi.GraftTask{
		Size: abi.GraftTaskSize, ABI: abi.Version, Pid: int32(t.img.Pid),
		NrThreads: uint32(len(t.img.Threads)), Threads: t.thread,
		Table: t.table(), Comm: t.arena.String(t.img.Core.GetTc().GetComm()),
		DumpTimeNs: t.opts.dumpTimeNs(), TimeoutNs: t.opts.HookTimeout.Nanoseconds(),
		OnError: abi.GraftOnErrorKill, UseStderr: t.useStderr(), LogLevel: uint32(t.opts.LogLevel),
		KeepStart: t.at.leave, KeepSize: t.at.blob - t.at.leave, BlobStart: t.at.blob,
		WatchdogSlot: t.at.slot(len(t.img.Threads)),
	}
	if t.opts.Continue {
		task.OnError = abi.GraftOnErrorContinue
	}
	if t.opts.LogFile != "" {
		task.LogPath = t.arena.String(t.opts.LogFile)
	}
	vmas, mm := taskview.VMAs(t.dir, t.img.Mm), taskview.MMOf(t.img.Mm)
	task.VMAs, task.NrVMAs = taskview.LayVMAs(t.arena, vmas), uint64(len(vmas))
	task.Timers, task.NrTimers = t.at.timers(len(t.img.Threads)), uint64(len(t.timers()))
	task.PatienceNs = t.opts.Patience.Nanoseconds()
	task.MM = mm.Lay(t.arena)
	renewals := t.renewals()
	task.Renewals, task.NrRenewals = memory.Records(t.arena, renewals), uint64(len(renewals))
	return task
}

// renewals lists memory that is to be fresh in each restored process.
func (t *taskGraft) renewals() (all []abi.GraftRenewal) {
	found := t.renewed(t.img)
	for _, v := range t.img.Mm.GetVmas() {
		r := abi.GraftRenewal{Start: v.GetStart(), Size: v.GetEnd() - v.GetStart()}
		switch found[v] {
		case renew.VGetrandom:
			r.Kind = abi.GraftRenewStates
		case renew.WipeOnFork:
			r.Kind = abi.GraftRenewWipe
		default:
			continue
		}
		all = append(all, r)
	}
	return all
}

// useStderr tells what lines may do to descriptor 2. A database that happens to have the number 2, or a connection,
// must not get any: a file counts only if it cannot be read, is appended to, or is standard output too, of this or
// another task.
func (t *taskGraft) useStderr() uint64 {
	stderr := t.dir.Files[fileID(t.img, 2)]
	switch stderr.GetType() {
	case pb.FdTypes_TTY, pb.FdTypes_PIPE, pb.FdTypes_FIFO:
		return abi.GraftStderrWrite
	case pb.FdTypes_REG:
		return useFile(stderr.GetReg(), t.outputs[stderr])
	}
	return abi.GraftStderrNone
}

// useFile says how lines get into a regular file.
func useFile(f *pb.RegFileEntry, isOutput bool) uint64 {
	flags := f.GetFlags()
	switch {
	case flags&uapi.OAppend != 0, strings.HasPrefix(f.GetName(), "/dev/"):
		return abi.GraftStderrWrite
	case flags&uapi.OAccmode == uapi.OWronly, isOutput:
		return abi.GraftStderrAppend
	}
	return abi.GraftStderrNone
}

// findOutputs looks for files that are standard output and standard error of a task: a child in a pipeline has only the
// latter.
func (g *grafter) findOutputs() {
	g.outputs = map[*pb.FileEntry]bool{}
	for _, t := range g.dir.Tasks {
		if id := fileID(t, 2); id == fileID(t, 1) {
			g.outputs[g.dir.Files[id]] = true
		}
	}
}

// fileID returns the id of a descriptor's file, or 0, which no file has.
func fileID(t *images.Task, number uint32) uint32 {
	for _, fd := range t.Fds {
		if fd.GetFd() == number {
			return fd.GetId()
		}
	}
	return 0
}

// cores makes every thread begin in graft_entry with all signals blocked. Vector registers stay: the core saves them.
func (t *taskGraft) cores() error {
	const flags = 0x202 // IF and the bit that is always 1, Intel SDM volume 1, 3.4.3
	for i := range t.img.Threads {
		c := pb.Clone(t.img.Threads[i].Core)
		r := c.ThreadInfo.Gpregs
		r.Ip, r.Sp, r.Flags = pb.Uint64(t.entry), pb.Uint64(t.at.stackTop(i)), pb.Uint64(flags)
		r.Di = pb.Uint64(t.thread + uint64(i*abi.GraftThreadSize))
		c.ThreadCore.BlkSigset = pb.Uint64(^uint64(0))
		if c.Tc != nil {
			c.Tc.BlkSigset = pb.Uint64(^uint64(0))
		}
		if err := t.image1(fmt.Sprintf("core-%d.img", t.img.Threads[i].Tid), "CORE", c); err != nil {
			return err
		}
	}
	return nil
}

// image1 is an image with one entry that takes the place of the old one.
func (t *taskGraft) image1(name, kind string, m pb.Message) error {
	var b bytes.Buffer
	if err := images.WriteImage(&b, name, kind, m); err != nil {
		return err
	}
	return t.replace(name, b.Bytes())
}

// mappings are the VMAs of the graft, as graft/core/src/graft.h draws them; neighbours with equal protection are one.
func (t *taskGraft) mappings() []*pb.VmaEntry {
	var list []*pb.VmaEntry
	add := func(start, end uint64, prot uint32) {
		if n := len(list); n > 0 && list[n-1].GetEnd() == start && list[n-1].GetProt() == prot {
			list[n-1].End = pb.Uint64(end)
			return
		}
		list = append(list, &pb.VmaEntry{
			Start: pb.Uint64(start), End: pb.Uint64(end), Pgoff: pb.Uint64(0), Shmid: pb.Uint64(0),
			Prot: pb.Uint32(prot), Flags: pb.Uint32(uapi.MapPrivate | uapi.MapAnonymous),
			Status: pb.Uint32(images.VmaRegular | images.VmaAnonPrivate), Fd: pb.Int64(-1),
		})
	}
	add(t.at.leave, t.at.frames, uapi.ProtRead|uapi.ProtExec)
	add(t.at.frames, t.at.blob, uapi.ProtRead|uapi.ProtWrite)
	for _, s := range t.image.Segments {
		add(uint64(s.Addr), uint64(s.Addr)+s.MemSize, uint32(s.Prot))
	}
	for i := range len(t.img.Threads) + 1 {
		add(t.at.slot(i), t.at.stack(i), 0)
		add(t.at.stack(i), t.at.slot(i+1), uapi.ProtRead|uapi.ProtWrite)
	}
	add(t.at.lent, t.at.arena, uapi.ProtRead|uapi.ProtWrite)
	add(t.at.arena, t.at.end, uapi.ProtRead)
	return list
}

// mm lists the mappings by address and behind them the guard regions, as CRIU does.
func (t *taskGraft) mm() error {
	m := pb.Clone(t.img.Mm)
	m.Vmas = append(m.Vmas, t.mappings()...)
	slices.SortStableFunc(m.Vmas, func(a, b *pb.VmaEntry) int { return cmp.Compare(a.GetStart(), b.GetStart()) })
	m.Vmas = append(m.Vmas, t.img.Guards...)
	return t.image1(fmt.Sprintf("mm-%d.img", t.img.Pid), "MM", m)
}
