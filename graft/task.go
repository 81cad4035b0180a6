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
)

// taskGraft is the graft of one task.
type taskGraft struct {
	*grafter
	img    *images.Task
	at     places
	image  *blob.Image
	arena  *arena
	entry  uint64 // graft_entry
	leave  []byte // instructions of graft_leave
	thread uint64 // address of the first struct graft_thread
}

func (g *grafter) task(img *images.Task) error {
	t := &taskGraft{grafter: g, img: img}
	if err := t.place(); err != nil {
		return err
	}
	t.fillArena()
	t.at.end = pageAlign(t.arena.base + uint64(len(t.arena.buf)))
	t.describe() // again, for now the end is known
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
	g.plan.Provenance.Tasks = append(g.plan.Provenance.Tasks, GraftedTask{
		Pid: img.Pid, Comm: img.Core.GetTc().GetComm(), Threads: len(img.Threads), Address: hexAddr(t.at.leave),
		Blob: hexAddr(t.at.blob), Size: t.at.end - t.at.leave,
	})
	return nil
}

// place chooses the addresses and relocates the blob. How long the arena is depends on no address.
func (t *taskGraft) place() error {
	threads := len(t.img.Threads)
	trial := &taskGraft{grafter: t.grafter, img: t.img, at: lay(0, t.layout.Size(), threads), image: &blob.Image{}}
	trial.fillArena()
	base, err := findGap(t.img, trial.at.arena+pageAlign(uint64(len(trial.arena.buf))))
	if err != nil {
		return err
	}
	t.at = lay(base, t.layout.Size(), threads)
	if t.image, err = t.layout.Only(t.runs).Place(blob.Addr(t.at.blob)); err != nil {
		return err
	}
	entry, ok := t.image.CoreSymbol("graft_entry")
	from, ok2 := t.image.CoreSymbol("graft_leave")
	to, ok3 := t.image.CoreSymbol("graft_leave_end")
	if t.leave = t.image.Bytes(from, uint64(to-from)); !ok || !ok2 || !ok3 || len(t.leave) == 0 || len(t.leave) > pageSize {
		return errors.New("the core has no entry: graft/core/graft_amd64.o is not what its sources build")
	}
	t.entry = uint64(entry)
	return nil
}

// runs reports whether a plugin runs in the task.
func (t *taskGraft) runs(plugin int) bool { return t.runsIn[plugin][t.img.Pid] }

// fillArena lays out what the core reads: struct graft_task first.
func (t *taskGraft) fillArena() {
	t.arena = &arena{base: t.at.arena}
	t.arena.reserve(taskSize)
	t.thread = t.arena.reserve(threadSize * len(t.img.Threads))
	for i := range t.img.Threads {
		t.describeThread(i)
	}
	t.describe()
}

func (t *taskGraft) describeThread(i int) {
	th := &t.img.Threads[i]
	at := t.thread + uint64(i*threadSize)
	words := append([]uint64{t.at.arena, pair(th.Tid, uint32(i)), t.at.frame(i), t.at.slot(i), sigmask(t.img, th)},
		gregs(th.Core)...)
	t.arena.put(at, words...)
}

// sigmask is the mask that the thread had; CRIU keeps the leader's in the task as well.
func sigmask(t *images.Task, th *images.Thread) uint64 {
	if tc := th.Core.GetThreadCore(); tc.BlkSigset != nil {
		return tc.GetBlkSigset()
	}
	return t.Core.GetTc().GetBlkSigset()
}

// gregs are the registers in the order of struct sigcontext (asm/sigcontext.h).
func gregs(c *pb.CoreEntry) []uint64 {
	r := c.GetThreadInfo().GetGpregs()
	segments := r.GetCs()&0xffff | r.GetGs()&0xffff<<16 | r.GetFs()&0xffff<<32 | r.GetSs()&0xffff<<48
	return []uint64{
		r.GetR8(), r.GetR9(), r.GetR10(), r.GetR11(), r.GetR12(), r.GetR13(), r.GetR14(), r.GetR15(), r.GetDi(), r.GetSi(),
		r.GetBp(), r.GetBx(), r.GetDx(), r.GetAx(), r.GetCx(), r.GetSp(), r.GetIp(), r.GetFlags(), segments,
	}
}

// describe writes struct graft_task; the strings and arrays behind it are laid out once.
func (t *taskGraft) describe() {
	if t.at.end != 0 {
		t.arena.put(t.at.arena+128, t.at.end-t.at.blob) // blob_size
		return
	}
	onError := uint32(0)
	if t.opts.Continue {
		onError = 1
	}
	comm := t.arena.string(t.img.Core.GetTc().GetComm())
	logPath := uint64(0)
	if t.opts.LogFile != "" {
		logPath = t.arena.string(t.opts.LogFile)
	}
	vmas := t.vmas()
	mm := t.mmInfo()
	renewals, nr := t.renewals()
	t.arena.put(t.at.arena, pair(taskSize, abi.Version), pair(t.img.Pid, uint32(len(t.img.Threads))), t.thread,
		uint64(t.image.Table), comm, vmas, uint64(len(t.img.Mm.GetVmas())), mm, t.opts.dumpTimeNs(),
		uint64(t.opts.HookTimeout.Nanoseconds()), pair(onError, uint32(t.opts.LogLevel)), logPath, t.useStderr(), t.at.leave,
		t.at.blob-t.at.leave, t.at.blob, 0, t.at.slot(len(t.img.Threads)), renewals, nr)
}

// renewals lays out struct graft_renewal[]: memory that is to be fresh in each restored process.
func (t *taskGraft) renewals() (at, nr uint64) {
	found := t.renewed(t.img)
	at = t.arena.reserve(len(found) * renewSize)
	for _, v := range t.img.Mm.GetVmas() {
		if kind := found[v]; kind != 0 {
			t.arena.put(at+nr*renewSize, v.GetStart(), v.GetEnd()-v.GetStart(), uint64(kind))
			nr++
		}
	}
	return at, nr
}

func (t *taskGraft) vmas() uint64 {
	all := t.img.Mm.GetVmas()
	at := t.arena.reserve(len(all) * (vmaSize + abi.MadvSize))
	for i, v := range all {
		t.arena.put(at+uint64(len(all)*vmaSize+i*abi.MadvSize), v.GetMadv())
		name := t.arena.string(t.dir.VMAName(v))
		t.arena.put(at+uint64(i*vmaSize), v.GetStart(), v.GetEnd(), pair(v.GetProt(), v.GetFlags()), v.GetPgoff(), name)
	}
	return at
}

func (t *taskGraft) mmInfo() uint64 {
	m := t.img.Mm
	auxv := t.arena.reserve(8 * len(m.GetMmSavedAuxv()))
	t.arena.put(auxv, m.GetMmSavedAuxv()...)
	at := t.arena.reserve(mmSize)
	t.arena.put(at, m.GetMmStartCode(), m.GetMmEndCode(), m.GetMmStartData(), m.GetMmEndData(), m.GetMmStartBrk(),
		m.GetMmBrk(), m.GetMmStartStack(), m.GetMmArgStart(), m.GetMmArgEnd(), m.GetMmEnvStart(), m.GetMmEnvEnd(), auxv,
		uint64(len(m.GetMmSavedAuxv())))
	return at
}

// useStderr tells what lines may do to descriptor 2. A database that happens to have the number 2, or a connection, must not
// get any: a file counts only if it cannot be read, is appended to, or is standard output too, of this or another task.
func (t *taskGraft) useStderr() uint64 {
	stderr := t.dir.Files[fileID(t.img, 2)]
	switch stderr.GetType() {
	case pb.FdTypes_TTY, pb.FdTypes_PIPE, pb.FdTypes_FIFO:
		return stderrWrite
	case pb.FdTypes_REG:
		return useFile(stderr.GetReg(), t.outputs[stderr])
	}
	return stderrNone
}

func useFile(f *pb.RegFileEntry, isOutput bool) uint64 {
	const oAccmode, oWronly, oAppend = 3, 1, 0x400 // open(2)
	flags := f.GetFlags()
	switch {
	case flags&oAppend != 0, strings.HasPrefix(f.GetName(), "/dev/"):
		return stderrWrite
	case flags&oAccmode == oWronly, isOutput:
		return stderrAppend
	}
	return stderrNone
}

// findOutputs looks for files that are standard output and standard error of a task: a child in a pipeline has only the latter.
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
		r.Di = pb.Uint64(t.thread + uint64(i*threadSize))
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

// protection bits and flags of mmap(2)
const (
	protRead, protWrite, protExec = 1, 2, 4
	mapPrivateAnonymous           = 0x22
)

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
			Prot: pb.Uint32(prot), Flags: pb.Uint32(mapPrivateAnonymous),
			Status: pb.Uint32(images.VmaRegular | images.VmaAnonPrivate), Fd: pb.Int64(-1),
		})
	}
	add(t.at.leave, t.at.frames, protRead|protExec)
	add(t.at.frames, t.at.blob, protRead|protWrite)
	for _, s := range t.image.Segments {
		add(uint64(s.Addr), uint64(s.Addr)+s.MemSize, uint32(s.Prot))
	}
	add(t.at.slots, t.at.arena, protRead|protWrite)
	add(t.at.arena, t.at.end, protRead)
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
