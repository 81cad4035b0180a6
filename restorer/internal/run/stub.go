package run

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

// stubCall is one entry of the stub's table: struct crpie_stub_call.
type stubCall struct {
	nr   int64
	args [abi.OpArgs]uint64
	want int64 // the only good result, or -1: any but an error
	what string
}

// stubELF builds the zygote's executable: one loadable segment at addr with the stub's code and its table. The last
// entry of calls makes the stub leave for entry with rdi = arg and rsp = stack.
func stubELF(code []byte, addr uint64, calls []stubCall, entry, arg, stack uint64) []byte {
	table := len(code)
	text := append(code[:table:table], make([]byte, (len(calls)+1)*abi.StubCallSize)...)
	for i, c := range append(calls, stubCall{nr: -1, args: [abi.OpArgs]uint64{entry, arg, stack}}) {
		call := abi.StubCall{Nr: c.nr, Arg: c.args, Want: c.want}
		call.Put(text[table+i*abi.StubCallSize:])
	}
	return executable(text, addr)
}

// executable builds one whose only segment, at addr, ends with code that begins with its first instruction.
func executable(code []byte, addr uint64) []byte {
	const header, program = 64, 56 // bytes, elf(5)
	text := uint64(header + program)
	size := text + uint64(len(code))
	b := encode(nil, &elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
			byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: addr + text, Phoff: header, Ehsize: header, Phentsize: program, Phnum: 1,
	})
	b = encode(b, &elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: addr, Paddr: addr, Filesz: size,
		Memsz: size, Align: memory.PageSize,
	})
	return append(b, code...)
}

// encode appends a struct of elf(5).
func encode(b []byte, data any) []byte {
	b, _ = binary.Append(b, binary.LittleEndian, data) // structs of fixed size always fit
	return b
}

// stubError explains the exit status of a zygote that never reached the core.
func stubError(calls []stubCall, status int) error {
	if i := status - abi.StubFailed; i >= 0 && i < len(calls) {
		return fmt.Errorf("restore zygote: it could not %s", calls[i].what)
	}
	return fmt.Errorf("restore zygote: it ended with status %d before it began", status)
}
