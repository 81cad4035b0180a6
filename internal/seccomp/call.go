package seccomp

// Call is a system call of a 64-bit task, and what is known of its arguments.
type Call struct {
	Nr   uint32
	Args [6]Arg
}

// Arg is an argument; the zero value is one that can be anything.
type Arg struct {
	Known bool
	Value uint64
}

// Is gives an argument that has this value.
func Is(v uint64) Arg { return Arg{true, v} }

const (
	dataSize    = 64         // struct seccomp_data, linux/seccomp.h: nr, arch, instruction pointer, six arguments
	archX86_64  = 0xc000003e // AUDIT_ARCH_X86_64, linux/audit.h
	argumentsAt = 16
)

// word is a 32-bit word that is known or can be anything.
type word struct {
	known bool
	v     uint32
}

func is(v uint32) word { return word{true, v} }

// load reads a word of struct seccomp_data. Nobody knows the instruction pointer.
func (c *Call) load(offset uint32) word {
	switch {
	case offset == 0:
		return is(c.Nr)
	case offset == 4:
		return is(archX86_64)
	case offset < argumentsAt:
		return word{}
	}
	arg := c.Args[(offset-argumentsAt)/8]
	return word{arg.Known, uint32(arg.Value >> (offset % 8 * 8))}
}
