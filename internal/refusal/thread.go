package refusal

import (
	core_x86 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
)

// Thread refuses threads of other machines and modes. It reports whether there are registers of x86-64 to look at.
func (c *Collector) Thread(where string, core *criu_core.CoreEntry) bool {
	info := core.GetThreadInfo()
	if core.GetMtype() != criu_core.CoreEntry_X86_64 || info == nil {
		c.Refuse(where, "", "machine %v: only x86-64 tasks can be %s", core.GetMtype(), c.Verb.participle())
		return false
	}
	if info.GetGpregs().GetMode() == core_x86.UserX86RegsMode_COMPAT {
		c.Refuse(where, "", "32-bit (compat) task: not supported")
	}
	if info.GetFpregs().GetXsave().GetCet().GetSsp() != 0 {
		c.Refuse(where, "run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off before dumping",
			"user shadow stack: not supported")
	}
	return true
}
