package run

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/restorer/internal/plan"
)

// stubCall is one entry of the stub's table (restorer/core/src/stub_amd64.S).
type stubCall struct {
	nr   int64
	args [6]uint64
	want int64 // the only good result, or -1: any that is no error
	what string
}

const stubCallSize = 64

// stubFailed is the exit status of a stub whose first call failed; the next one's is one higher.
const stubFailed = 64

// stubELF builds the zygote's executable: one loadable segment at addr with the stub's code and its table. The last
// entry of calls makes the stub leave for entry with rdi = arg and rsp = stack.
func stubELF(code []byte, addr uint64, calls []stubCall, entry, arg, stack uint64) []byte {
	const ehdr, phdr = 64, 56
	le := binary.LittleEndian
	text := uint64(ehdr + phdr)
	size := int(text) + len(code) + (len(calls)+1)*stubCallSize
	b := make([]byte, size)

	copy(b, "\x7fELF\x02\x01\x01") // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
	le.PutUint16(b[16:], 2)        // ET_EXEC
	le.PutUint16(b[18:], 62)       // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], addr+text) // e_entry
	le.PutUint64(b[32:], ehdr)      // e_phoff
	le.PutUint16(b[52:], ehdr)
	le.PutUint16(b[54:], phdr)
	le.PutUint16(b[56:], 1)

	p := b[ehdr:]
	le.PutUint32(p[0:], 1)     // PT_LOAD
	le.PutUint32(p[4:], 4|1)   // PF_R | PF_X
	le.PutUint64(p[16:], addr) // p_vaddr; p_offset is 0
	le.PutUint64(p[24:], addr)
	le.PutUint64(p[32:], uint64(size))
	le.PutUint64(p[40:], uint64(size))
	le.PutUint64(p[48:], plan.PageSize)

	at := copy(b[text:], code) + int(text)
	for _, c := range append(calls, stubCall{nr: -1, args: [6]uint64{entry, arg, stack}}) {
		le.PutUint64(b[at:], uint64(c.nr))
		for i, a := range c.args {
			le.PutUint64(b[at+8+8*i:], a)
		}
		le.PutUint64(b[at+56:], uint64(c.want))
		at += stubCallSize
	}
	return b
}

// stubError explains the exit status of a zygote that never reached the core.
func stubError(calls []stubCall, status int) error {
	if i := status - stubFailed; i >= 0 && i < len(calls) {
		return fmt.Errorf("restore zygote: it could not %s", calls[i].what)
	}
	return fmt.Errorf("restore zygote: it ended with status %d before it began", status)
}
