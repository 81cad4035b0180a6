//go:build linux && amd64

package inject

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/sys"
)

// A trampoline is code in the unused end of an executable page of the process. A thread makes one system call there for
// the tracer, which stops it at the end of that call. Without a tracer, because crpie was killed, the thread goes on
// through the rest: it sets its signal mask, its registers, and jumps back into the program. So it needs no stack, no
// frame, and nothing that crpie would still have to do.
//
//	0    syscall                   the tracer's
//	2    where it is clone(2): a copy, for which it is 0, goes to 9
//	7    jmp 18
//	9    exit_group: a copy that nobody traces is not to become a second program
//	18   rt_sigprocmask(SIG_SETMASK, mask)
//	48   the registers that system calls take or change
//	138  jmp *ip
//	144  ip, mask
const trampolineSize = 160

const callInstruction = "\x0f\x05" // syscall

// Neither changes the flags, which are the program's.
const (
	anyCall = "\x0f\x1f\x44\x00\x00" // nopl 0(%rax,%rax)
	isClone = "" +
		"\x48\x89\xc1" + // mov %rax, %rcx
		"\xe3\x02" // jrcxz, over the jmp: its offset is of 8 bits, signed
)

const exitCode = "" +
	"\xeb\x09" + // jmp, over the rest
	"\x31\xff" + // xor %edi, %edi
	"\xb8\xe7\x00\x00\x00" + // mov $__NR_exit_group, %eax
	callInstruction

const trampolineCode = "" +
	"\xb8\x0e\x00\x00\x00" + // mov $__NR_rt_sigprocmask, %eax
	"\xbf\x02\x00\x00\x00" + // mov $SIG_SETMASK, %edi
	"\x48\x8d\x35\x75\x00\x00\x00" + // lea mask(%rip), %rsi
	"\xba\x00\x00\x00\x00" + // mov $0, %edx: xor would change the flags
	"\x41\xba\x08\x00\x00\x00" + // mov $8, %r10d
	"\x0f\x05" // syscall

// trampoline is the code for a thread that has these registers and blocks these signals. With clone the call is one
// that copies the process.
func trampoline(regs *sys.Regs, mask uint64, clone bool) []byte {
	back := restarted(*regs)
	after := anyCall
	if clone {
		after = isClone
	}
	code := []byte(callInstruction + after + exitCode + trampolineCode)
	for _, r := range []struct {
		move  string // movabs $imm64, register
		value uint64
	}{
		{"\x48\xbf", back.Di}, {"\x48\xbe", back.Si}, {"\x48\xba", back.Dx}, {"\x49\xba", back.R10},
		{"\x49\xb8", back.R8}, {"\x49\xb9", back.R9}, {"\x49\xbb", back.R11}, {"\x48\xb9", back.Cx},
		{"\x48\xb8", back.Ax},
	} {
		code = binary.LittleEndian.AppendUint64(append(code, r.move...), r.value)
	}
	code = append(code, "\xff\x25\x00\x00\x00\x00"...) // jmp *0(%rip)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(code, back.Ip), mask)
}
