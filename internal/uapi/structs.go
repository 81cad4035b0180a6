package uapi

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Struct describes what a pointer leads to: a struct, or, where its one member has no name, a number. Members stand in
// the order in which strace(1) prints them; what a call ignores is left out.
type Struct struct {
	C       string // its type, in a header of the kernel; empty: a number
	Header  string
	Size    int // bytes
	Members []Member
}

// Member is a member of a struct, printed as an argument is. One that is a struct has the kind Inline.
type Member struct {
	Name      string
	Off, Size int
	Arg
}

// elements prints as many structs as b has.
func (s *Struct) elements(b []byte, mem Memory) (words []string) {
	const most = 32
	for ; len(b) >= s.Size; b = b[s.Size:] {
		if len(words) == most {
			return append(words, "...")
		}
		words = append(words, s.format(b, mem))
	}
	return words
}

// format prints the struct at the beginning of b.
func (s *Struct) format(b []byte, mem Memory) string {
	values, words := make([]uint64, len(s.Members)), []string{}
	for i := range s.Members {
		values[i] = s.Members[i].load(b)
	}
	for i := range s.Members {
		m := &s.Members[i]
		switch text := m.format(b, values, i, mem); {
		case s.number():
			return text
		case !m.Optional || values[i] != 0:
			words = append(words, m.Name+"="+text)
		}
	}
	return "{" + strings.Join(words, ", ") + "}"
}

func (s *Struct) number() bool { return s.Members[0].Name == "" }

// format prints one member: structs and texts from b, everything else as an argument of a call.
func (m *Member) format(b []byte, values []uint64, i int, mem Memory) string {
	switch field := b[m.Off:][:m.Size]; m.Kind {
	case Inline:
		return m.Of.format(field, mem)
	case Chars:
		return quote(field)
	}
	return m.Arg.format(values, i, mem)
}

// load reads a member that is a number, others are 0.
func (m *Member) load(b []byte) uint64 {
	switch b = b[m.Off:]; m.Size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		v := binary.LittleEndian.Uint32(b)
		if m.Kind == Int {
			return uint64(int32(v))
		}
		return uint64(v)
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// pointed prints the structs that argument i points to.
func (a Arg) pointed(args []uint64, i int, mem Memory) string {
	n, v := a.count(args, i), args[i]
	b := lookup(mem, v)
	if n == 0 {
		return "[]"
	}
	if b == nil || n > uint64(len(b)/a.Of.Size) {
		return number(v)
	}
	text := strings.Join(a.Of.elements(b[:n*uint64(a.Of.Size)], mem), ", ")
	if a.Kind == Pointer && n == 1 && (!a.Of.number() || a.Of.Members[0].Kind == SigMask) ||
		a.Kind == Sized && n == 1 {
		return text
	}
	return "[" + text + "]"
}

// count is the number of structs.
func (a Arg) count(args []uint64, i int) uint64 {
	switch {
	case a.Kind == Before && i > 0:
		return args[i-1]
	case a.Kind == Counted && i+1 < len(args):
		return args[i+1]
	case a.Kind == Sized && i+1 < len(args):
		return args[i+1] / uint64(a.Of.Size)
	}
	return max(uint64(a.N), 1)
}

// sigMask prints a set of signals as strace(1) does: those that are not in it, if most are.
func sigMask(mask uint64) string {
	not, names := "", []string{}
	if bits.OnesCount64(mask) > NrSignals/2 {
		not, mask = "~", ^mask
	}
	for n := range uint64(NrSignals) {
		if mask>>n&1 != 0 {
			names = append(names, strings.TrimPrefix(SignalName(n+1), "SIG"))
		}
	}
	return not + "[" + strings.Join(names, " ") + "]"
}

// capMask prints capabilities; many of them as /proc/PID/status does.
func capMask(mask uint64) string {
	const most = 12
	if bits.OnesCount64(mask) > most || mask>>len(CapNames) != 0 || mask == 0 {
		return number(mask)
	}
	var words []string
	for n, name := range CapNames {
		if mask>>n&1 != 0 {
			words = append(words, "1<<"+name)
		}
	}
	return strings.Join(words, "|")
}

// formatCaps prints struct __user_cap_data_struct[2], capset(2): each set has its lower half in the first.
func formatCaps(b []byte) string {
	var words []string
	for i, name := range []string{"effective", "permitted", "inheritable"} {
		low, high := binary.LittleEndian.Uint32(b[4*i:]), binary.LittleEndian.Uint32(b[4*i+12:])
		words = append(words, name+"="+capMask(uint64(high)<<32|uint64(low)))
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// formatSiginfo prints siginfo_t, sigaction(2), whose end depends on the sender of the signal.
func formatSiginfo(b []byte, mem Memory) string {
	whole := &siginfo
	switch int32(binary.LittleEndian.Uint32(b[8:])) {
	case siUser, siTkill:
		whole = &siginfoSent
	case siQueue, siMesgq:
		whole = &siginfoQueued
	}
	return whole.format(b, mem)
}

// formatControl prints the headers and contents of control messages, cmsg(3).
func formatControl(b []byte, mem Memory) string {
	var words []string
	for len(b) >= CmsgHeader {
		size := binary.LittleEndian.Uint64(b)
		if size < CmsgHeader || size > uint64(len(b)) {
			break
		}
		head := cmsghdr.format(b, mem)
		words = append(words, fmt.Sprintf("%s, cmsg_data=%s}", strings.TrimSuffix(head, "}"),
			formatControlData(b[:size], mem)))
		b = b[min((size+7)&^7, uint64(len(b))):]
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func formatControlData(b []byte, mem Memory) string {
	data := b[CmsgHeader:]
	if binary.LittleEndian.Uint32(b[8:]) == SolSocket && binary.LittleEndian.Uint32(b[12:]) == ScmRights {
		return "[" + strings.Join(descriptor.elements(data, mem), ", ") + "]"
	}
	return quote(data)
}

// formatMessage prints struct msgbuf, msgop(2), with a text of size bytes.
func formatMessage(b []byte) string {
	return fmt.Sprintf("{mtype=%s, mtext=%s}", strconv.FormatInt(int64(binary.LittleEndian.Uint64(b)), 10),
		quote(b[8:]))
}

// formatHandle prints struct file_handle, open_by_handle_at(2).
func formatHandle(b []byte, mem Memory) string {
	text := fileHandle.format(b, mem)
	data, size := b[fileHandle.Size:], binary.LittleEndian.Uint32(b)
	return fmt.Sprintf("%s, f_handle=%s}", strings.TrimSuffix(text, "}"),
		quote(data[:min(uint64(size), uint64(len(data)))]))
}
