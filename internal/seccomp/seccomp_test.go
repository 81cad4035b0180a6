package seccomp

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/images/pb"
)

// Mnemonics of bpf(4), as struct sock_filter.
func ld(offset uint32) instruction            { return instruction{classLd | modeAbs, 0, 0, offset} }
func imm(k uint32) instruction                { return instruction{classLd, 0, 0, k} }
func ret(a Answer) instruction                { return instruction{classRet, 0, 0, uint32(a)} }
func alu(op uint16, k uint32) instruction     { return instruction{classALU | op, 0, 0, k} }
func jeq(k uint32, jt, jf uint8) instruction  { return instruction{classJmp | jmpJeq, jt, jf, k} }
func jgt(k uint32, jt, jf uint8) instruction  { return instruction{classJmp | jmpJgt, jt, jf, k} }
func jge(k uint32, jt, jf uint8) instruction  { return instruction{classJmp | jmpJge, jt, jf, k} }
func jset(k uint32, jt, jf uint8) instruction { return instruction{classJmp | jmpJset, jt, jf, k} }
func op(code uint16, k uint32) instruction    { return instruction{code, 0, 0, k} }
func deny(nr uint32, with Answer) []instruction {
	return []instruction{ld(0), jeq(nr, 0, 1), ret(with), ret(Allow)}
}

func raw(p ...instruction) []byte {
	var b []byte
	for _, i := range p {
		b = binary.LittleEndian.AppendUint16(b, i.code)
		b = binary.LittleEndian.AppendUint32(append(b, i.jt, i.jf), i.k)
	}
	return b
}

const (
	clone = 56
	arg0  = argumentsAt
)

// Each filter is asked about clone(0x7d0f00, anything, …).
var programs = []struct {
	name string
	code []instruction
	want string // the answers
}{
	{"allows", []instruction{ret(Allow)}, "SECCOMP_RET_ALLOW"},
	{"kills the process", deny(clone, KillProcess), "SECCOMP_RET_KILL_PROCESS"},
	{"kills the thread", deny(clone, KillThread), "SECCOMP_RET_KILL_THREAD"},
	{"traps", deny(clone, Trap), "SECCOMP_RET_TRAP"},
	{"errno", deny(clone, Errno|38), "SECCOMP_RET_ERRNO (38)"},
	{"notifies", deny(clone, UserNotif), "SECCOMP_RET_USER_NOTIF"},
	{"traces", deny(clone, Trace|7), "SECCOMP_RET_TRACE"},
	{"logs", deny(clone, Log), "SECCOMP_RET_LOG"},
	{"unknown action", deny(clone, 0x12345678), "0x12345678, which kills"},
	{"another call", deny(57, KillProcess), "SECCOMP_RET_ALLOW"},
	{"only 64 bits", []instruction{ld(4), jeq(archX86_64, 1, 0), ret(KillProcess), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"only 32 bits", []instruction{ld(4), jeq(0x40000003, 1, 0), ret(KillProcess), ret(Allow)},
		"SECCOMP_RET_KILL_PROCESS"},
	{"no x32", []instruction{ld(0), jge(0x40000000, 0, 1), ret(KillThread), ret(Allow)}, "SECCOMP_RET_ALLOW"},
	{"known argument", []instruction{ld(arg0), alu(aluAnd, 0x7e020000), jeq(0, 1, 0), ret(Errno | 1), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"known bit", []instruction{ld(arg0), jset(0x100, 0, 1), ret(Errno | 1), ret(Allow)}, "SECCOMP_RET_ERRNO (1)"},
	{"upper half", []instruction{ld(arg0 + 4), jeq(9, 1, 0), ret(Errno | 1), ret(Allow)}, "SECCOMP_RET_ALLOW"},
	{"unknown argument", []instruction{ld(arg0 + 8), jeq(0, 0, 1), ret(Errno | 1), ret(Allow)},
		"SECCOMP_RET_ERRNO (1) SECCOMP_RET_ALLOW"},
	{"unknown address", []instruction{ld(8), jgt(0, 1, 0), ret(Trap), ret(Log)},
		"SECCOMP_RET_TRAP SECCOMP_RET_LOG"},
	{"known on this way", []instruction{ld(arg0 + 8), jeq(5, 0, 2), jeq(5, 1, 0), ret(Trap), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"masked away", []instruction{ld(arg0 + 8), alu(aluAnd, 0), jeq(0, 1, 0), ret(Trap), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"two ways, one value", []instruction{ld(arg0 + 8), jeq(1, 0, 2), imm(7), op(classJmp, 1), imm(7),
		jeq(7, 1, 0), ret(Trap), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"two ways, two values", []instruction{ld(arg0 + 8), jeq(1, 0, 2), imm(7), op(classJmp, 1), imm(8),
		jeq(7, 1, 0), ret(Trap), ret(Allow)},
		"SECCOMP_RET_TRAP SECCOMP_RET_ALLOW"},
	{"memory", []instruction{ld(0), op(classSt, 3), imm(0), op(classLdx|modeMem, 3), op(classMisc|miscTxa, 0),
		jeq(clone, 1, 0), ret(Trap), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"X", []instruction{ld(0), op(classMisc, 0), imm(clone), op(classJmp|jmpJeq|sourceX, 0), ret(Allow)},
		"SECCOMP_RET_ALLOW"},
	{"arithmetic", []instruction{ld(0), alu(aluAdd, 4), alu(aluMul, 3), alu(aluSub, 20), alu(aluDiv, 2),
		alu(aluXor, 1), alu(aluOr, 0x100), alu(aluLsh, 4),
		alu(aluRsh, 2), op(classALU|aluNeg, 0), op(classRet|retA, 0)}, "0xfffffabc, which kills"},
	{"division by 0", []instruction{op(classLdx, 0), op(classALU|aluDiv|sourceX, 0), ret(Allow)},
		"SECCOMP_RET_KILL_THREAD SECCOMP_RET_ALLOW"},
	{"length", []instruction{op(classLd|modeLen, 0), jeq(64, 1, 0), ret(Trap), ret(Allow)}, "SECCOMP_RET_ALLOW"},
	{"returns the unknown", []instruction{ld(8), op(classRet|retA, 0)}, "SECCOMP_RET_KILL_PROCESS"},
}

func TestAnswers(t *testing.T) {
	for _, c := range programs {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse(raw(c.code...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range p.Answers(&Call{Nr: clone, Args: [6]Arg{Is(9<<32 | 0x3d0f00)}}) {
				got = append(got, a.String())
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		code []byte
		want string
	}{
		{nil, "0 bytes are not 1 to 4096 whole instructions"},
		{make([]byte, 12), "12 bytes are not 1 to 4096 whole instructions"},
		{make([]byte, 8*4097), "32776 bytes are not 1 to 4096 whole instructions"},
		{raw(imm(1)), "instruction 0: the last one does not return"},
		{raw(ret(Allow), jeq(1, 0, 1), ret(Allow)), "instruction 1: it jumps past the end"},
		{raw(op(classJmp, 1<<31), ret(Allow)), "instruction 0: it jumps past the end"},
		{raw(ld(64), ret(Allow)), "instruction 0: offset 64 is not a word of struct seccomp_data"},
		{raw(ld(2), ret(Allow)), "instruction 0: offset 2 is not a word of struct seccomp_data"},
		{raw(op(classSt, 16), ret(Allow)), "instruction 0: there is no word 16 of scratch memory"},
		{raw(op(classLdx|modeMem, 16), ret(Allow)), "instruction 0: there is no word 16 of scratch memory"},
		{raw(alu(aluDiv, 0), ret(Allow)), "instruction 0: it divides by 0"},
		{raw(alu(aluLsh, 32), ret(Allow)), "instruction 0: it shifts by 32 bits"},
		{raw(op(0x28, 0), ret(Allow)), "instruction 0: code 0x28 is not for seccomp"}, // BPF_LD|BPF_H|BPF_ABS
		{raw(op(classALU|0x90, 1), ret(Allow)), "instruction 0: code 0x94 is not for seccomp"},
	} {
		if _, err := Parse(c.code); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// The lower action as a signed number wins, whichever filter says it.
func TestPrecedence(t *testing.T) {
	order := []Answer{KillProcess, KillThread, Trap, Errno | 1, UserNotif, Trace, Log, Allow}
	for i, a := range order {
		for j, b := range order {
			f := New([]*pb.SeccompFilter{{Filter: raw(ret(a))}, {Filter: raw(ret(b)), Prev: pb.Uint32(0)}})
			if got, err := f.Answer(1, Call{}); err != nil || got != order[min(i, j)] {
				t.Errorf("%v, then %v: got %v, %v", a, b, got, err)
			}
		}
	}
}

// chain gives n filters, of which the one at position bad denies clone.
func chain(n, bad int) *Filters {
	var list []*pb.SeccompFilter
	for i := range n {
		f := &pb.SeccompFilter{Filter: raw(ret(Allow))}
		if i == bad {
			f.Filter = raw(deny(clone, Errno|5)...)
		}
		if i > 0 {
			f.Prev = pb.Uint32(uint32(i - 1))
		}
		list = append(list, f)
	}
	return New(list)
}

func TestManyFilters(t *testing.T) {
	for _, n := range []int{65, 1000} {
		for _, bad := range []int{0, n / 2, n - 1} {
			f := chain(n, bad)
			for last := 0; last < n; last += n / 13 {
				want := Allow
				if last >= bad {
					want = Errno | 5
				}
				if got, err := f.Answer(uint32(last), Call{Nr: clone}); err != nil || got != want {
					t.Fatalf("%d filters, number %d denies: number %d answers %v, %v", n, bad,
						last, got, err)
				}
			}
		}
	}
	if got, err := chain(6554, -1).Answer(6553, Call{}); err != nil || got != Allow {
		t.Errorf("as long as Linux permits: %v, %v", got, err)
	}
	if _, err := chain(6555, 0).Answer(6554, Call{}); err == nil ||
		err.Error() != "seccomp filter 6554 and those before it are longer than Linux permits, 32768 instructions" {
		t.Errorf("too long: %v", err)
	}
}

func TestBadChains(t *testing.T) {
	f := New([]*pb.SeccompFilter{{Filter: raw(ret(Allow)), Prev: pb.Uint32(0)},
		{Filter: []byte("short"), Prev: nil}})
	for last, want := range map[uint32]string{
		0: "seccomp filter 0: seccomp.img has 2 filters, and each names an earlier one",
		1: "seccomp filter 1: 5 bytes are not 1 to 4096 whole instructions",
		2: "seccomp filter 2: seccomp.img has 2 filters, and each names an earlier one",
	} {
		if _, err := f.Answer(last, Call{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The default profile of podman 4.3 and Debian's containers-common 0.50, as runc 1.1.5 has compiled it.
func TestDefaultProfile(t *testing.T) {
	data, err := os.ReadFile("testdata/podman-default.bpf")
	if err != nil {
		t.Fatal(err)
	}
	f := New([]*pb.SeccompFilter{{Filter: data}})
	for _, c := range []struct {
		call Call
		want Answer
	}{
		{Call{Nr: 9}, Allow}, // mmap
		{Call{Nr: clone, Args: [6]Arg{Is(0x3d0f00)}}, Allow},        // of a thread
		{Call{Nr: 41, Args: [6]Arg{Is(16), {}, Is(9)}}, Errno | 22}, // socket(AF_NETLINK, …, NETLINK_AUDIT)
		{Call{Nr: 41, Args: [6]Arg{Is(16), {}, Is(0)}}, Allow},      // socket(AF_NETLINK, …, NETLINK_ROUTE)
		{Call{Nr: 41, Args: [6]Arg{Is(16)}}, Errno | 22},            // with a protocol that nobody knows
		{Call{Nr: 135, Args: [6]Arg{Is(0)}}, Allow},                 // personality(PER_LINUX)
		{Call{Nr: 135}, Errno | 38},
		{Call{Nr: 321}, Errno | 1}, // bpf
	} {
		if got, err := f.Answer(0, c.call); err != nil || got != c.want {
			t.Errorf("%+v: got %v, %v; want %v", c.call, got, err, c.want)
		}
	}
}

// A program of full length whose every jump goes two ways takes no longer than another.
func TestWorstProgram(t *testing.T) {
	code := []instruction{ld(8)}
	for len(code) < maxInstructions-2 {
		code = append(code, jgt(uint32(len(code)), 0, 1))
	}
	p, err := Parse(raw(append(code, ret(Allow), ret(Errno|1))...))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Answers(&Call{})); got != "[SECCOMP_RET_ERRNO (1) SECCOMP_RET_ALLOW]" {
		t.Errorf("got %s", got)
	}
}
