package images

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
)

// The checks make values safe to use without looking twice: references resolve, ranges are ranges, lists have the
// length of what they stand for. Whether crpie supports what they say is not decided here.

// checker reports problems of one entry.
type checker struct {
	p     *problems
	file  string
	entry int

	list  string // of which one element is checked; empty: none
	index int
}

// element returns the checker of an element of a list, whose fields it names.
func (c checker) element(list string, index int) checker {
	c.list, c.index = list, index
	return c
}

// want reports a problem unless ok is true.
func (c checker) want(ok bool, field, format string, args ...any) bool {
	if !ok {
		if c.list != "" {
			field = wire.Indexed(c.list, c.index) + "." + field
		}
		c.p.add(c.file, c.entry, fieldErr(field, format, args...))
	}
	return ok
}

// check checks what the format allows and no kernel has dumped. What passes can be planned without looking for nil or
// for absurd numbers.
func (d *Dir) check(p *problems) {
	d.checkFiles(p)
	d.checkSeccomp(p)
	d.checkTimens(p)
	d.checkUTS(p)
	for _, t := range d.Tasks {
		for i := range t.Threads {
			if core := t.Threads[i].Core; core != nil {
				c := checker{p: p, file: fmt.Sprintf("core-%d.img", t.Threads[i].Tid)}
				d.checkCore(c, core, i == 0, t.Dead())
			}
		}
		d.checkTask(p, t)
	}
}

// Sizes of what the lists of a core image stand for. The register file of FXSAVE and XSAVE: Intel SDM volume 1,
// section 13.4.
const (
	siginfoSize = 128 // sizeof(siginfo_t), asm-generic/siginfo.h
	maxComm     = 15  // TASK_COMM_LEN - 1
	maxSignals  = 64  // _NSIG
	maxRlimits  = 16  // RLIM_NLIMITS
	maxGroups   = 65536
	capWords    = 2 // _LINUX_CAPABILITY_U32S_3
)

// checkCore checks a thread's image; a dead task has only the part that its parent sees.
func (d *Dir) checkCore(c checker, core *pb.CoreEntry, leader, dead bool) {
	tc, thread := core.GetTc(), core.GetThreadCore()
	if leader && c.want(tc != nil, "tc", "missing") {
		checkTaskCore(c, tc)
	}
	if dead {
		return
	}
	if core.GetMtype() == pb.CoreEntry_X86_64 && c.want(core.GetThreadInfo() != nil, "thread_info", "missing") {
		checkX86(c, core)
	}
	if c.want(thread != nil, "thread_core", "missing") {
		d.checkThreadCore(c, thread)
	}
}

// checkTaskCore bounds lists by what a process has of each: resource limits, signals. POSIX timers have less than a
// second of nanoseconds, others less than one of microseconds, else timer_settime(2) and setitimer(2) fail with EINVAL.
func checkTaskCore(c checker, tc *pb.TaskCoreEntry) {
	c.want(len(tc.GetComm()) <= maxComm, "tc.comm", "%d bytes, more than %d", len(tc.GetComm()), maxComm)
	c.want(len(tc.GetSigactions()) <= maxSignals, "tc.sigactions", "%d, more than there are signals",
		len(tc.GetSigactions()))
	c.want(len(tc.GetRlimits().GetRlimits()) <= maxRlimits, "tc.rlimits", "%d, more than there are limits",
		len(tc.GetRlimits().GetRlimits()))
	checkSignals(c, "tc.signals_s", tc.GetSignalsS())
	timers := tc.GetTimers()
	for i, it := range []*pb.ItimerEntry{timers.GetReal(), timers.GetVirt(), timers.GetProf()} {
		field := "tc.timers." + [...]string{"real", "virt", "prof"}[i]
		c.want(it.GetIusec() < 1e6, field+".iusec", "%d is a second or more", it.GetIusec())
		c.want(it.GetVusec() < 1e6, field+".vusec", "%d is a second or more", it.GetVusec())
	}
	for i, timer := range timers.GetPosix() {
		field := fmt.Sprintf("tc.timers.posix[%d].", i)
		c.want(timer.GetItId() <= 1<<31-1, field+"it_id", "%d is not a timer_t", timer.GetItId())
		c.want(timer.GetInsec() < 1e9, field+"insec", "%d is a second or more", timer.GetInsec())
		c.want(timer.GetVnsec() < 1e9, field+"vnsec", "%d is a second or more", timer.GetVnsec())
	}
}

func checkSignals(c checker, field string, queue *pb.SignalQueueEntry) {
	for i, s := range queue.GetSignals() {
		c.want(len(s.GetSiginfo()) == siginfoSize, fmt.Sprintf("%s.signals[%d].siginfo", field, i),
			"%d bytes, want %d", len(s.GetSiginfo()), siginfoSize)
	}
}

// checkThreadCore checks that the thread's filter is in seccomp.img, and that credentials have the kernel's sizes: at
// most NGROUPS_MAX groups and two words for each set of capabilities, capset(2).
func (d *Dir) checkThreadCore(c checker, thread *pb.ThreadCoreEntry) {
	c.want(len(thread.GetComm()) <= maxComm, "thread_core.comm", "%d bytes, more than %d", len(thread.GetComm()),
		maxComm)
	checkSignals(c, "thread_core.signals_p", thread.GetSignalsP())
	if thread.GetSeccompMode() == pb.SeccompMode_filter {
		c.want(int64(thread.GetSeccompFilter()) < int64(len(d.Seccomp)), "thread_core.seccomp_filter",
			"%d, but seccomp.img has %d filters", thread.GetSeccompFilter(), len(d.Seccomp))
	}
	creds := thread.GetCreds()
	if creds == nil {
		return
	}
	c.want(len(creds.GetGroups()) <= maxGroups, "thread_core.creds.groups", "%d, more than %d",
		len(creds.GetGroups()), maxGroups)
	for _, set := range []struct {
		name  string
		words []uint32
	}{
		{"cap_inh", creds.GetCapInh()}, {"cap_prm", creds.GetCapPrm()}, {"cap_eff", creds.GetCapEff()},
		{"cap_bnd", creds.GetCapBnd()}, {"cap_amb", creds.GetCapAmb()},
	} {
		c.want(len(set.words) <= capWords, "thread_core.creds."+set.name, "%d words, want %d", len(set.words),
			capWords)
	}
}

// checkX86 checks the lengths of the register files; an absent XSAVE component has length 0.
func checkX86(c checker, core *pb.CoreEntry) {
	info := core.GetThreadInfo()
	fp := info.GetFpregs()
	if !c.want(info.GetGpregs() != nil && fp != nil, "thread_info", "registers missing") {
		return
	}
	exactly := func(field string, got, want int) {
		c.want(got == want, "thread_info.fpregs."+field, "%d words, want %d", got, want)
	}
	optionally := func(field string, got, want int) {
		c.want(got == 0 || got == want, "thread_info.fpregs.xsave."+field, "%d words, want %d or none", got,
			want)
	}
	exactly("st_space", len(fp.GetStSpace()), 32)
	exactly("xmm_space", len(fp.GetXmmSpace()), 64)
	if xsave := fp.GetXsave(); xsave != nil {
		optionally("ymmh_space", len(xsave.GetYmmhSpace()), 64)
		optionally("opmask_reg", len(xsave.GetOpmaskReg()), 8)
		optionally("zmm_upper", len(xsave.GetZmmUpper()), 64)
		optionally("hi16_zmm", len(xsave.GetHi16Zmm()), 128)
		optionally("pkru", len(xsave.GetPkru()), 2)
	}
}

// checkTask checks the images of one task. A dead task has none of them; an image that could not be read is nil, too,
// and has been reported.
func (d *Dir) checkTask(p *problems, t *Task) {
	if t.Mm != nil {
		d.checkMm(checker{p: p, file: fmt.Sprintf("mm-%d.img", t.Pid)}, t.Mm)
	}
	if t.Mm != nil && t.Pagemap != nil {
		checkCovered(p, t)
	}
	checkGuards(p, t)
	if t.Fs != nil {
		c := checker{p: p, file: fmt.Sprintf("fs-%d.img", t.Pid)}
		d.wantRegular(c, "cwd_id", t.Fs.GetCwdId())
		d.wantRegular(c, "root_id", t.Fs.GetRootId())
	}
	d.checkFds(p, t)
}

// wantRegular requires a file of an id. Without a files.img that could be read only that image is to blame.
func (d *Dir) wantRegular(c checker, field string, id uint32) {
	c.want(d.Files == nil || d.Files[id].GetReg() != nil, field, "%d is not a regular file of files.img", id)
}

// maxAuxv bounds the words of the auxiliary vector; the kernel's saved_auxv has about 50.
const maxAuxv = 256

// checkMm checks the order that the kernel keeps: brk, arguments and environment do not end before their start,
// prctl(2) PR_SET_MM; mappings ascend and do not overlap, proc_pid_maps(5). Auxiliary vectors have pairs of words,
// getauxval(3).
func (d *Dir) checkMm(c checker, m *pb.MmEntry) {
	d.wantRegular(c, "exe_file_id", m.GetExeFileId())
	auxv := len(m.GetMmSavedAuxv())
	c.want(auxv%2 == 0 && auxv <= maxAuxv, "mm_saved_auxv", "%d words, want pairs, at most %d", auxv, maxAuxv)
	ordered := func(field string, end uint64, before string, start uint64) {
		c.want(start <= end, field, "0x%x lies before %s 0x%x", end, before, start)
	}
	ordered("mm_brk", m.GetMmBrk(), "mm_start_brk", m.GetMmStartBrk())
	ordered("mm_arg_end", m.GetMmArgEnd(), "mm_arg_start", m.GetMmArgStart())
	ordered("mm_env_end", m.GetMmEnvEnd(), "mm_env_start", m.GetMmEnvStart())
	var end uint64
	for i, v := range m.GetVmas() {
		c := c.element("vmas", i)
		d.checkVmaFile(c, v)
		if checkVma(c, v) {
			c.want(v.GetStart() >= end, "start", "0x%x lies before the end of the previous one, 0x%x",
				v.GetStart(), end)
			end = v.GetEnd()
		}
	}
}

// vsyscall is the one mapping above the user addresses (Documentation/arch/x86/x86_64/mm.rst).
const vsyscall = 0xffffffffff600000

// checkVma checks a mapping by itself; v can be compared with others only if it passes.
func checkVma(c checker, v *pb.VmaEntry) bool {
	start, end := v.GetStart(), v.GetEnd()
	return c.want(start%PageSize == 0, "start", "0x%x is not a multiple of the page size", start) &&
		c.want(end%PageSize == 0, "end", "0x%x is not a multiple of the page size", end) &&
		c.want(end > start, "end", "0x%x is not beyond start 0x%x", end, start) &&
		c.want(end <= maxAddress || start == vsyscall, "end", "0x%x is beyond any user address", end) &&
		c.want(v.GetPgoff()%PageSize == 0, "pgoff", "0x%x is not a multiple of the page size",
			v.GetPgoff())
}

// checkVmaFile requires a mapped file to be listed: shmid is its id there.
func (d *Dir) checkVmaFile(c checker, v *pb.VmaEntry) {
	if d.Files != nil && v.GetStatus()&(VmaFilePrivate|VmaFileShared) != 0 {
		c.want(v.GetShmid() <= 1<<32-1 && d.Files[uint32(v.GetShmid())] != nil, "shmid",
			"%d is not a file of files.img", v.GetShmid())
	}
}

// checkGuards requires guard regions to lie inside of mappings, madvise(2).
func checkGuards(p *problems, t *Task) {
	for i, g := range t.Guards {
		c := checker{p: p, file: fmt.Sprintf("mm-%d.img", t.Pid)}.element("vmas", len(t.Mm.GetVmas())+i)
		if !checkVma(c, g) {
			continue
		}
		if at, ok := t.covered(g.GetStart(), g.GetEnd()); !ok {
			c.want(false, "start", "guard region 0x%x-0x%x: 0x%x lies in no mapping", g.GetStart(),
				g.GetEnd(), at)
		}
	}
}

// checkCovered requires every page of the pagemap to lie in a VMA.
func checkCovered(p *problems, t *Task) {
	for _, run := range t.Pagemap.Runs {
		if at, ok := t.covered(run.Vaddr, run.End()); !ok {
			p.add(t.Pagemap.Name, -1, fieldErr("vaddr", "page 0x%x lies in no VMA of mm-%d.img", at, t.Pid))
			return
		}
	}
}

// covered reports whether mappings fill a range, and gives the first address that is in none.
func (t *Task) covered(start, end uint64) (missing uint64, ok bool) {
	vmas := t.Mm.GetVmas()
	next, _ := slices.BinarySearchFunc(vmas, start, func(v *pb.VmaEntry, at uint64) int {
		return cmp.Compare(v.GetEnd(), at+1)
	})
	for ; start < end; next++ {
		if next == len(vmas) || vmas[next].GetStart() > start {
			return start, false
		}
		start = vmas[next].GetEnd()
	}
	return 0, true
}
