package uapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Memory is what pointers among the arguments point to; nil where it has nothing at an address.
type Memory interface {
	Lookup(addr uint64) []byte
}

// Arg says how an argument is printed.
type Arg struct {
	Kind Kind
	Set  *Set    // of Words
	Of   *Struct // of pointers to structs
	N    int     // of Pointer: how many; 0: one

	Optional bool // a member that is left out if it is 0
}

// Kind is the kind of an argument.
type Kind int

// The kinds.
const (
	Hex      Kind = iota
	Int           // decimal, with a sign
	FD            // a descriptor, or AT_FDCWD
	String        // the address of a string
	Bytes         // the address of as many bytes as the next argument says
	Option        // the same, a number if it has the size of an int
	Sockaddr      // the same, an address of bind(2)
	ID            // of a user or group: a number, or -1
	Mode          // octal
	Signal
	Capability
	Words   // names of a Set
	Pointer // the address of structs
	Counted // the same, as many as the next argument says
	Before  // the same, as many as the argument before says
	Sized   // the same, as many as fit into the bytes that the next argument says
	Inline  // a struct within another
	Chars   // bytes within a struct
	SigMask // a set of signals
	Siginfo // the address of a siginfo_t
	Caps    // the address of the sets of capset(2)
	Control // the address of control messages, as many bytes as the next argument says
	Message // the address of a System V message, whose text has as many bytes as the next argument says
	Handle  // the address of a struct file_handle
)

// Set is a group of constants: values that exclude each other, within a mask, and flags.
type Set struct {
	Mask   uint64 // of the values; 0: all bits
	None   string // the name of 0, if it has one
	Values []Named
	Flags  []Named

	Mode, Decimal bool // how a value without a name is printed: octal, decimal; otherwise hexadecimal
}

// Named is a constant. What it means for the arguments behind it is in Rest.
type Named struct {
	Value uint64
	Name  string
	Rest  []Arg
}

// String names a value as strace(1) does; bits without a name are a number.
func (s *Set) String(v uint64) string {
	if v == 0 && s.None != "" {
		return s.None
	}
	mask := s.Mask
	if mask == 0 && len(s.Flags) == 0 {
		mask = ^uint64(0)
	}
	words, rest := s.value(v&mask), v&^mask
	for _, f := range s.Flags {
		if rest&f.Value == f.Value {
			words = append(words, f.Name)
			rest &^= f.Value
		}
	}
	if rest != 0 || len(words) == 0 {
		words = append(words, number(rest))
	}
	return strings.Join(words, "|")
}

// value names the bits within the mask, if any are set.
func (s *Set) value(v uint64) []string {
	n := s.find(v)
	switch {
	case n != nil:
		return []string{n.Name}
	case s.Mode:
		return []string{fmt.Sprintf("%#03o", v)}
	case s.Decimal:
		return []string{strconv.FormatUint(v, 10)}
	case v != 0:
		return []string{fmt.Sprintf("%#x", v)}
	}
	return nil
}

// find returns the constant of a value, or nil.
func (s *Set) find(v uint64) *Named {
	for i := range s.Values {
		if s.Values[i].Value == v {
			return &s.Values[i]
		}
	}
	return nil
}

// Syscall says how a system call is printed: the arguments that are worth it.
type Syscall struct {
	Name string
	Args []Arg
}

// FormatCall names a system call and its arguments, as many as are worth printing.
func FormatCall(nr uint64, args []uint64, mem Memory) (name string, words []string) {
	call := &Syscalls[nr]
	return call.Name, Format(call.Args, args, mem)
}

// Format prints arguments.
func Format(how []Arg, args []uint64, mem Memory) (words []string) {
	for i := 0; i < len(how); i++ {
		words = append(words, how[i].format(args, i, mem))
		if how[i].Kind != Words {
			continue
		}
		if n := how[i].Set.find(args[i]); n != nil && n.Rest != nil {
			return append(words, Format(n.Rest, args[i+1:], mem)...)
		}
	}
	return words
}

const atFdcwd32 = AtFdcwd & 0xffffffff

// format prints argument i.
func (a Arg) format(args []uint64, i int, mem Memory) string {
	v := args[i]
	switch a.Kind {
	case Int:
		return strconv.FormatInt(int64(v), 10)
	case FD:
		if v == AtFdcwd || v == atFdcwd32 {
			return "AT_FDCWD"
		}
		return strconv.Itoa(int(int32(v)))
	case Mode:
		return fmt.Sprintf("%#03o", v)
	case Signal:
		return SignalName(v)
	case SigMask:
		return sigMask(v)
	case Capability:
		if v < uint64(len(CapNames)) {
			return CapNames[v]
		}
	case Words:
		return a.Set.String(v)
	case ID:
		return strconv.Itoa(int(int32(v)))
	case Hex:
	default:
		return a.memory(args, i, mem)
	}
	return number(v)
}

// memory prints what argument i points to, the address where nothing is known of it.
func (a Arg) memory(args []uint64, i int, mem Memory) string {
	v, size := args[i], uint64(0)
	if i+1 < len(args) {
		size = args[i+1]
	}
	b := lookup(mem, v)
	switch has := uint64(len(b)); {
	case v == 0:
		return "NULL"
	case a.Kind == Pointer || a.Kind == Counted || a.Kind == Before || a.Kind == Sized:
		return a.pointed(args, i, mem)
	case b == nil:
	case a.Kind == String:
		text, _, _ := bytes.Cut(b, []byte{0})
		return strconv.Quote(string(text))
	case a.Kind == Siginfo && has >= siginfoSize:
		return formatSiginfo(b, mem)
	case a.Kind == Caps && has >= capDataSize:
		return formatCaps(b)
	case a.Kind == Handle && has >= uint64(fileHandle.Size):
		return formatHandle(b, mem)
	case a.Kind == Message && has >= 8 && size <= has-8:
		return formatMessage(b[:8+size])
	case a.Kind == Control && size <= has:
		return formatControl(b[:size], mem)
	case (a.Kind == Bytes || a.Kind == Option || a.Kind == Sockaddr) && size <= has:
		return a.Kind.bytes(b[:size])
	}
	return number(v)
}

// bytes prints what lies at an address.
func (k Kind) bytes(b []byte) string {
	switch {
	case k == Option && len(b) == 4:
		return fmt.Sprintf("[%d]", int32(binary.LittleEndian.Uint32(b)))
	case k == Sockaddr && len(b) >= 2:
		return formatSockaddr(b)
	}
	return quote(b)
}

// formatSockaddr prints struct sockaddr_un, unix(7), struct sockaddr_in, ip(7), struct sockaddr_in6, ipv6(7), and
// others as bytes.
func formatSockaddr(b []byte) string {
	family, rest := uint64(binary.LittleEndian.Uint16(b)), b[2:]
	name := families.String(family)
	switch {
	case family == AfUnix && len(rest) > 0 && rest[0] == 0:
		return fmt.Sprintf("{sa_family=%s, sun_path=@%s}", name, quote(rest[1:]))
	case family == AfUnix:
		return fmt.Sprintf("{sa_family=%s, sun_path=%s}", name, quote(bytes.TrimRight(rest, "\x00")))
	case family == AfInet && len(rest) >= 6:
		return fmt.Sprintf("{sa_family=%s, %v}", name, address(rest, rest[2:6]))
	case family == AfInet6 && len(rest) >= 22:
		return fmt.Sprintf("{sa_family=%s, %v}", name, address(rest, rest[6:22]))
	}
	return fmt.Sprintf("{sa_family=%s, %s}", name, quote(rest))
}

// address is a port in network byte order and an IP address.
func address(port, ip []byte) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip) // of 4 or 16 bytes
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))
}

func lookup(mem Memory, addr uint64) []byte {
	if mem == nil || addr == 0 {
		return nil
	}
	return mem.Lookup(addr)
}

// quote prints bytes, the first of them if there are many.
func quote(b []byte) string {
	const most = 32
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(b))
}

// number prints small numbers, and -1, in decimal, others in hexadecimal.
func number(v uint64) string {
	if v < 10 || int64(v) < 0 && int64(v) > -4096 {
		return strconv.FormatInt(int64(v), 10)
	}
	return fmt.Sprintf("%#x", v)
}

// SignalName is the name of a signal, signal(7).
func SignalName(n uint64) string {
	switch {
	case n < uint64(len(signals)):
		return signals[n]
	case n >= sigRtmin && n <= NrSignals:
		return fmt.Sprintf("SIGRT_%d", n-sigRtmin)
	}
	return strconv.FormatUint(n, 10)
}

const sigRtmin = 32 // the kernel's; libraries keep the first ones

var signals = [...]string{
	"0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
	"SIGSEGV", "SIGUSR2",
	"SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU",
	"SIGURG", "SIGXCPU",
	"SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
}
