package planner

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// creds plans the change from the restorer's identity to the application's. The order is forced: groups and ids while
// CAP_SETGID and CAP_SETUID are there, with capabilities kept across the change of uid; securebits and the bounding set
// while CAP_SETPCAP is; then the capabilities themselves.
func (t *threadPlanner) creds(c *pb.CredsEntry) {
	p := t.prog
	if c.GetNoNewPrivs() != 0 {
		p.Sys("no_new_privs", uapi.SysPrctl, uapi.PrSetNoNewPrivs, 1)
	}
	groups := c.GetGroups()
	p.Sys("supplementary groups", uapi.SysSetgroups, uint64(len(groups)), p.Arena.Bytes(plan.Words32(groups)))
	p.Sys("keep capabilities while ids change", uapi.SysPrctl, uapi.PrSetSecurebits,
		uapi.SecbitNoSetuidFixup|uapi.SecbitKeepCaps)
	p.Sys("gids", uapi.SysSetresgid, uint64(c.GetGid()), uint64(c.GetEgid()), uint64(c.GetSgid()))
	p.Sys("fsgid", uapi.SysSetfsgid, uint64(c.GetFsgid()))
	p.Sys("uids", uapi.SysSetresuid, uint64(c.GetUid()), uint64(c.GetEuid()), uint64(c.GetSuid()))
	p.Sys("fsuid", uapi.SysSetfsuid, uint64(c.GetFsuid()))
	t.stayClosed()
	p.Sys("securebits", uapi.SysPrctl, uapi.PrSetSecurebits, uint64(c.GetSecbits()))
	bounds := capBits(c.GetCapBnd())
	for n := 0; n <= uapi.CapLast; n++ {
		if t.Host.Bounds&(1<<n) != 0 && bounds&(1<<n) == 0 {
			p.Sys("bounding set without "+uapi.CapNames[n], uapi.SysPrctl, uapi.PrCapbsetDrop, uint64(n))
		}
	}
	t.capset(c)
}

// stayClosed keeps others of the task's uid out where the change of ids opens a process to them (fs.suid_dumpable is 1,
// proc_sys_fs(5)). Capabilities keep them out until then, ptrace(2), so no thread drops its own before the flag is
// right for all of them.
func (t *threadPlanner) stayClosed() {
	const debug = 1
	if t.Host.SuidDumpable != debug {
		return
	}
	t.prog.Sys("not dumpable while it is restored", uapi.SysPrctl, uapi.PrSetDumpable, 0)
	t.prog.Core("ids have changed", abi.ArriveBarrier{Barrier: abi.BarrierIDs})
	t.prog.Core("ids of all threads have changed", abi.WaitBarrier{Barrier: abi.BarrierIDs,
		Threads: uint64(len(t.Img.Threads))})
}

// capset sets the three sets that a thread can set, and then ambient capabilities one by one: each has to be permitted
// and inheritable already, prctl(2).
func (t *threadPlanner) capset(c *pb.CredsEntry) {
	p := t.prog
	header := p.Arena.Bytes(plan.Words32([]uint32{uapi.CapVersion3, 0}))
	eff, prm, inh := pair(c.GetCapEff()), pair(c.GetCapPrm()), pair(c.GetCapInh())
	data := p.Arena.Bytes(plan.Words32([]uint32{eff[0], prm[0], inh[0], eff[1], prm[1], inh[1]}))
	p.Sys("capabilities", uapi.SysCapset, header, data)
	ambient := capBits(c.GetCapAmb())
	for n := 0; n <= uapi.CapLast; n++ {
		if ambient&(1<<n) != 0 {
			p.Sys("ambient "+uapi.CapNames[n], uapi.SysPrctl, uapi.PrCapAmbient, uapi.PrCapAmbientRaise,
				uint64(n))
		}
	}
}

// checkCreds refuses what the kernel would: a process cannot hand out capabilities that it does not have.
func (t *threadPlanner) checkCreds(c *pb.CredsEntry) {
	wanted := capBits(c.GetCapPrm()) | capBits(c.GetCapEff()) | capBits(c.GetCapBnd())
	for n := 0; n <= uapi.CapLast; n++ {
		bit := uint64(1) << n
		if wanted&bit != 0 && t.Host.Bounds&bit == 0 {
			t.Refuse(t.where(), "run crpie where it has this capability",
				"the task had %s, which this process's bounding set lacks", uapi.CapNames[n])
		}
	}
	if t.Host.NoNewPrivs && c.GetNoNewPrivs() == 0 {
		t.Refuse(t.where(), "start crpie without it", "crpie has no_new_privs, which the task would keep")
	}
	if label := t.label(c); label != "" && label != "unconfined" && label != ownLabel(t.Host.LSM()) {
		t.Refuse(t.where(), "start crpie with this label: aa-exec(1), runcon(1)",
			"security label %q: changing labels is not supported", label)
	}
	if len(c.GetApparmorData()) != 0 {
		t.Refuse(t.where(), "", "AppArmor namespace of its own: not supported")
	}
}

// label gives the security label that the thread is to have.
func (t *threadPlanner) label(c *pb.CredsEntry) string {
	if t.Opts.LSMProfile != "" {
		return t.Opts.LSMProfile
	}
	return c.GetLsmProfile()
}

// ownLabel takes the mode off an AppArmor profile, "name (enforce)", as CRIU does when it dumps.
func ownLabel(attribute string) string {
	label, _, _ := strings.Cut(attribute, " (")
	return label
}

// pair gives the two halves of a capability set; CRIU leaves the second out of old images.
func pair(words []uint32) (p [2]uint32) {
	copy(p[:], words)
	return p
}

func capBits(words []uint32) uint64 {
	p := pair(words)
	return uint64(p[1])<<32 | uint64(p[0])
}

// seccomp plans the filters of a thread, oldest first: each filter names the one installed before it.
func (t *threadPlanner) seccomp(index uint32) {
	filters := t.Dir.Seccomp
	var chain []uint32
	for i := index; ; {
		if int(i) >= len(filters) || len(chain) > len(filters) {
			t.Refuse(t.where(), "",
				"seccomp filter %d: seccomp.img has %d filters, or they name each other in a circle",
				i, len(filters))
			return
		}
		chain = append(chain, i)
		if filters[i].Prev == nil {
			break
		}
		i = filters[i].GetPrev()
	}
	for n := len(chain) - 1; n >= 0; n-- {
		f := filters[chain[n]]
		const instruction = 8 // sizeof(struct sock_filter)
		if len(f.GetFilter())%instruction != 0 || len(f.GetFilter()) == 0 {
			t.Refuse(t.where(), "", "seccomp filter %d: %d bytes are not whole instructions", chain[n],
				len(f.GetFilter()))
			return
		}
		code := t.prog.Arena.Bytes(f.GetFilter())
		fprog := t.prog.Arena.Words(uint64(len(f.GetFilter())/instruction), code)
		t.prog.Sys(fmt.Sprintf("seccomp filter %d", chain[n]), uapi.SysSeccomp, uapi.SeccompModeFilter,
			uint64(f.GetFlags()), fprog)
	}
}
