package loader

import (
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
