package seccomp

import (
	"encoding/binary"
	"fmt"
)

// instruction is struct sock_filter of linux/filter.h.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

const (
	instructionSize = 8
	maxInstructions = 4096 // BPF_MAXINSNS, linux/bpf_common.h
)

// The fields of an instruction's code, linux/bpf_common.h.
const (
	classLd, classLdx, classSt, classStx, classALU, classJmp, classRet, classMisc = 0, 1, 2, 3, 4, 5, 6, 7

	modeImm, modeAbs, modeMem, modeLen = 0x00, 0x20, 0x60, 0x80

	aluAdd, aluSub, aluMul, aluDiv, aluOr, aluAnd, aluLsh, aluRsh, aluNeg, aluXor = 0x00, 0x10, 0x20, 0x30, 0x40,
		0x50,
		0x60, 0x70, 0x80, 0xa0

	jmpJa, jmpJeq, jmpJgt, jmpJge, jmpJset = 0x00, 0x10, 0x20, 0x30, 0x40

	sourceX  = 0x08
	retA     = 0x10
	miscTxa  = 0x80
	memWords = 16 // BPF_MEMWORDS
)

// allowed reports whether seccomp takes an instruction, as seccomp_check_filter of kernel/seccomp.c lists them.
func (i instruction) allowed() bool {
	switch i.code {
	case classLd | modeAbs, classLd | modeLen, classLd | modeImm, classLd | modeMem,
		classLdx | modeLen, classLdx | modeImm, classLdx | modeMem, classSt, classStx,
		classALU | aluNeg, classJmp | jmpJa, classRet, classRet | retA, classMisc, classMisc | miscTxa:
		return true
	}
	switch i.code &^ sourceX {
	case classALU | aluAdd, classALU | aluSub, classALU | aluMul, classALU | aluDiv, classALU | aluAnd,
		classALU | aluOr, classALU | aluXor, classALU | aluLsh, classALU | aluRsh,
		classJmp | jmpJeq, classJmp | jmpJgt, classJmp | jmpJge, classJmp | jmpJset:
		return true
	}
	return false
}

func (i instruction) class() uint16 { return i.code & 0x07 }
func (i instruction) op() uint16    { return i.code & 0xf0 }
func (i instruction) fromX() bool   { return i.code&sourceX != 0 }

// Program is a filter that a kernel would take.
type Program []instruction

// Parse reads an array of struct sock_filter and checks it as the kernel does (bpf_check_classic,
// seccomp_check_filter).
func Parse(raw []byte) (Program, error) {
	n := len(raw) / instructionSize
	if n == 0 || n > maxInstructions || len(raw)%instructionSize != 0 {
		return nil, fmt.Errorf("%d bytes are not 1 to %d whole instructions", len(raw), maxInstructions)
	}
	p := make(Program, n)
	for pc := range p {
		b := raw[pc*instructionSize:]
		p[pc] = instruction{binary.LittleEndian.Uint16(b), b[2], b[3], binary.LittleEndian.Uint32(b[4:])}
	}
	for pc, in := range p {
		if why := in.wrong(n - pc - 1); why != "" {
			return nil, fmt.Errorf("instruction %d: %s", pc, why)
		}
	}
	if p[n-1].class() != classRet {
		return nil, fmt.Errorf("instruction %d: the last one does not return", n-1)
	}
	return p, nil
}

// wrong tells why the kernel refuses an instruction that others follow; "" if it does not.
func (i instruction) wrong(others int) string {
	switch {
	case !i.allowed():
		return fmt.Sprintf("code 0x%x is not for seccomp", i.code)
	case i.code == classLd|modeAbs && (i.k >= dataSize || i.k%4 != 0):
		return fmt.Sprintf("offset %d is not a word of struct seccomp_data", i.k)
	case i.usesMemory() && i.k >= memWords:
		return fmt.Sprintf("there is no word %d of scratch memory", i.k)
	case i.code == classALU|aluDiv && i.k == 0:
		return "it divides by 0"
	case (i.code == classALU|aluLsh || i.code == classALU|aluRsh) && i.k >= 32:
		return fmt.Sprintf("it shifts by %d bits", i.k)
	case i.class() == classJmp && i.farthest() >= uint64(others):
		return "it jumps past the end"
	}
	return ""
}

func (i instruction) usesMemory() bool {
	return i.class() == classSt || i.class() == classStx || i.class() <= classLdx && i.code&0xe0 == modeMem
}

// farthest counts the instructions that a jump skips at most.
func (i instruction) farthest() uint64 {
	if i.op() == jmpJa {
		return uint64(i.k)
	}
	return uint64(max(i.jt, i.jf))
}
