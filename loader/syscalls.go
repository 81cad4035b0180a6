package loader

import (
	"debug/elf"
	"slices"

	"github.com/crpie/crpie/internal/abi"
)

// Syscalls are the system calls that a plugin declares.
type Syscalls struct {
	Declared bool     // the object has records of calls
	Numbers  []uint32 // of the object's machine, ascending, each once
	Computed bool     // it also makes calls whose numbers it computes
}

// readSyscalls reads the records of one section crpie_syscalls: one for each place in the code.
func (p *parser) readSyscalls(section int) {
	s := &p.plugin.Syscalls
	p.records(section, abi.SyscallRecordSize, func(_ Offset, rec []byte) {
		s.Declared = true
		p.plugin.DeclaredPlaces++
		switch nr := le32(rec[abi.SyscallRecordNrOff:]); nr {
		case abi.SyscallComputed:
			s.Computed = true
		default:
			s.Numbers = append(s.Numbers, nr)
		}
	})
	slices.Sort(s.Numbers)
	s.Numbers = slices.Compact(s.Numbers)
}

// signalCalls are the system calls that send a signal, asm/unistd_64.h and asm-generic/unistd.h.
func signalCalls(machine elf.Machine) map[uint32]string {
	if machine == elf.EM_AARCH64 {
		return map[uint32]string{129: "kill", 130: "tkill", 131: "tgkill", 138: "rt_sigqueueinfo",
			240: "rt_tgsigqueueinfo", 424: "pidfd_send_signal"}
	}
	return map[uint32]string{62: "kill", 200: "tkill", 234: "tgkill", 129: "rt_sigqueueinfo",
		297: "rt_tgsigqueueinfo", 424: "pidfd_send_signal"}
}

func sigactionCall(machine elf.Machine) uint32 {
	if machine == elf.EM_AARCH64 {
		return 134
	}
	return 13
}

// checkSignals notes calls whose effect comes when the plugin is gone.
func (p *parser) checkSignals() {
	sends := signalCalls(p.plugin.Machine)
	for _, nr := range p.plugin.Syscalls.Numbers {
		if nr == sigactionCall(p.plugin.Machine) {
			p.reportf(CodeHandler, nil,
				"system call rt_sigaction: a handler in the plugin is unmapped before the program goes on, "+
					"and the signal then crashes it: install a function of the program, SIG_DFL or SIG_IGN")
		}
		if name := sends[nr]; name != "" {
			p.reportf(CodeSignal, nil,
				"system call %s: a signal to the restored process waits until it goes on, and may end it then: "+
					"return a negative errno to undo the restore", name)
		}
	}
}
