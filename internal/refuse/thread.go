package refuse

import (
	"github.com/crpie/crpie/images/pb"
)

// Thread refuses threads of other machines and modes. It reports whether there are registers of x86-64 to look at.
func (c *Collector) Thread(where string, core *pb.CoreEntry) bool {
	info := core.GetThreadInfo()
	if core.GetMtype() != pb.CoreEntry_X86_64 || info == nil {
		c.Refuse(where, "", "machine %v: only x86-64 tasks can be %s", core.GetMtype(), c.Verb.Participle())
		return false
	}
	if info.GetGpregs().GetMode() == pb.UserX86RegsMode_COMPAT {
		c.Refuse(where, "", "32-bit (compat) task: not supported")
	}
	if info.GetFpregs().GetXsave().GetCet().GetSsp() != 0 {
		c.Refuse(where, "run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off before dumping",
			"user shadow stack: not supported")
	}
	return true
}
