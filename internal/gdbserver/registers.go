//go:build linux

package gdbserver

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// Machine says which registers gdb is told of, and in which order they follow each other in its packets: those of the
// manual of gdb, appendix G.5.10, "i386 Features".
type Machine struct {
	YMM uint32 // where the upper halves of ymm0 to ymm15 lie in the XSAVE area; 0: nowhere
}

// Further places in the XSAVE area than sys names, Intel SDM vol. 1, table 10-2.
const (
	xsaveFCW, xsaveFSW, xsaveFTW, xsaveFOP, xsaveFIP, xsaveFDP = 0, 2, 4, 6, 8, 16
	xsaveST, xsaveXMM                                          = 32, 160

	stSize, vectorSize = 10, 16
)

// generalSize is the length of the general registers: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15 and rip of 8
// bytes; eflags, cs, ss, ds, es, fs and gs of 4.
const generalSize = 17*8 + 7*4

// Size is the length of all registers, bytes.
func (m Machine) Size() int {
	size := generalSize + 8*stSize + 8*4 + 16*vectorSize + 4 + 2*8
	if m.YMM != 0 {
		size += 16 * vectorSize
	}
	return size
}

// pack gives registers as gdb takes them. xstate is an XSAVE area in standard format.
func (m Machine) pack(r *sys.Regs, xstate []byte) []byte {
	b := make([]byte, 0, m.Size())
	for _, word := range general(r) {
		b = binary.LittleEndian.AppendUint64(b, *word)
	}
	for _, word := range []uint64{r.Flags, r.Cs, r.Ss, r.Ds, r.Es, r.Fs, r.Gs} {
		b = binary.LittleEndian.AppendUint32(b, uint32(word))
	}
	for i := range 8 {
		b = append(b, xstate[xsaveST+16*i:][:stSize]...)
	}
	for _, word := range x87(xstate) {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	b = append(b, xstate[xsaveXMM:][:16*vectorSize]...)
	b = append(b, xstate[sys.XsaveMXCSR:][:4]...)
	if m.YMM != 0 {
		b = append(b, xstate[m.YMM:][:16*vectorSize]...)
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, r.FsBase), r.GsBase)
}

// general are the general registers of 64 bits.
func general(r *sys.Regs) []*uint64 {
	return []*uint64{&r.Ax, &r.Bx, &r.Cx, &r.Dx, &r.Si, &r.Di, &r.Bp, &r.Sp, &r.R8, &r.R9, &r.R10, &r.R11, &r.R12,
		&r.R13, &r.R14, &r.R15, &r.Ip}
}

// x87 gives fctrl, fstat, ftag, fiseg, fioff, foseg, fooff and fop.
func x87(xstate []byte) [8]uint32 {
	half := func(at int) uint32 { return uint32(binary.LittleEndian.Uint16(xstate[at:])) }
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(xstate[at:]) }
	return [8]uint32{half(xsaveFCW), half(xsaveFSW), tags(xstate), half(xsaveFIP + 4), word(xsaveFIP),
		half(xsaveFDP + 4), word(xsaveFDP), half(xsaveFOP)}
}

// tags gives the x87 tag word, which XSAVE abridges to a bit for each register, Intel SDM vol. 1, 8.1.7 and 10.5.1.1.
func tags(xstate []byte) (word uint32) {
	const topShift, topMask = 11, 7
	top := int(binary.LittleEndian.Uint16(xstate[xsaveFSW:])>>topShift) & topMask
	for i := range 8 {
		tag := uint32(tagEmpty)
		if xstate[xsaveFTW]&(1<<i) != 0 {
			tag = tagOf(xstate[xsaveST+16*((i-top)&7):])
		}
		word |= tag << (2 * i)
	}
	return word
}

const tagValid, tagZero, tagSpecial, tagEmpty = 0, 1, 2, 3

// tagOf classifies an x87 register.
func tagOf(st []byte) uint32 {
	mantissa, exponent := binary.LittleEndian.Uint64(st), binary.LittleEndian.Uint16(st[8:])&0x7fff
	switch {
	case exponent == 0 && mantissa == 0:
		return tagZero
	case exponent == 0x7fff || mantissa>>63 == 0:
		return tagSpecial
	}
	return tagValid
}

// unpack takes what gdb has written into general registers and the XSAVE area. Segments stay as they are. changed: the
// area has.
func (m Machine) unpack(b []byte, r *sys.Regs, xstate []byte) (changed bool) {
	was := m.pack(r, xstate)
	for i, word := range general(r) {
		*word = binary.LittleEndian.Uint64(b[8*i:])
	}
	r.Flags = uint64(binary.LittleEndian.Uint32(b[17*8:]))
	last := m.Size() - 2*8
	if string(was[generalSize:last]) == string(b[generalSize:last]) {
		return false
	}
	m.unpackExtended(b[generalSize:], xstate)
	return true
}

func (m Machine) unpackExtended(b, xstate []byte) {
	take := func(at, n int) {
		copy(xstate[at:][:n], b)
		b = b[n:]
	}
	for i := range 8 {
		take(xsaveST+16*i, stSize)
	}
	words := [8]uint32{}
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	b = b[len(words)*4:]
	setX87(xstate, &words)
	take(xsaveXMM, 16*vectorSize)
	take(sys.XsaveMXCSR, 4)
	features := uint64(3) // x87 and SSE
	if m.YMM != 0 {
		take(int(m.YMM), 16*vectorSize)
		features |= 4
	}
	bv := binary.LittleEndian.Uint64(xstate[sys.XsaveHeader:])
	binary.LittleEndian.PutUint64(xstate[sys.XsaveHeader:], bv|features)
}

// setX87 sets what x87 gives.
func setX87(xstate []byte, words *[8]uint32) {
	half := func(at int, word uint32) { binary.LittleEndian.PutUint16(xstate[at:], uint16(word)) }
	half(xsaveFCW, words[0])
	half(xsaveFSW, words[1])
	xstate[xsaveFTW] = 0
	for i := range 8 {
		if words[2]>>(2*i)&3 != tagEmpty {
			xstate[xsaveFTW] |= 1 << i
		}
	}
	half(xsaveFIP+4, words[3])
	binary.LittleEndian.PutUint32(xstate[xsaveFIP:], words[4])
	half(xsaveFDP+4, words[5])
	binary.LittleEndian.PutUint32(xstate[xsaveFDP:], words[6])
	half(xsaveFOP, words[7])
}

// Description is the target description: without one gdb takes the machine for an i386.
func (m Machine) Description() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>` +
		`<architecture>i386:x86-64</architecture><feature name="org.gnu.gdb.i386.core">`)
	for _, name := range strings.Fields("rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip") {
		kind := map[string]string{"rbp": "data_ptr", "rsp": "data_ptr", "rip": "code_ptr"}[name]
		if kind == "" {
			kind = "int64"
		}
		register(&b, name, 64, kind)
	}
	for _, name := range strings.Fields("eflags cs ss ds es fs gs") {
		register(&b, name, 32, "int32")
	}
	numbered(&b, "st%d", 8, 80, "i387_ext")
	for _, name := range strings.Fields("fctrl fstat ftag fiseg fioff foseg fooff fop") {
		register(&b, name, 32, `int" group="float`)
	}
	b.WriteString(`</feature><feature name="org.gnu.gdb.i386.sse">` + vectorTypes)
	numbered(&b, "xmm%d", 16, 128, "vec128")
	register(&b, "mxcsr", 32, `int" group="vector`)
	if m.YMM != 0 {
		b.WriteString(`</feature><feature name="org.gnu.gdb.i386.avx">`)
		numbered(&b, "ymm%dh", 16, 128, "uint128")
	}
	b.WriteString(`</feature><feature name="org.gnu.gdb.i386.segments">`)
	register(&b, "fs_base", 64, "int64")
	register(&b, "gs_base", 64, "int64")
	b.WriteString(`</feature></target>`)
	return b.String()
}

// vectorTypes are how gdb shows an xmm register.
const vectorTypes = `<vector id="floats" type="ieee_single" count="4"/><vector id="doubles" type="ieee_double" count="2"/>` +
	`<vector id="bytes" type="int8" count="16"/><vector id="halves" type="int16" count="8"/>` +
	`<vector id="words" type="int32" count="4"/><vector id="longs" type="int64" count="2"/><union id="vec128">` +
	`<field name="v4_float" type="floats"/><field name="v2_double" type="doubles"/>` +
	`<field name="v16_int8" type="bytes"/><field name="v8_int16" type="halves"/>` +
	`<field name="v4_int32" type="words"/><field name="v2_int64" type="longs"/>` +
	`<field name="uint128" type="uint128"/></union>`

func register(b *strings.Builder, name string, bits int, kind string) {
	fmt.Fprintf(b, `<reg name="%s" bitsize="%d" type="%s"/>`, name, bits, kind)
}

func numbered(b *strings.Builder, names string, count, bits int, kind string) {
	for i := range count {
		register(b, fmt.Sprintf(names, i), bits, kind)
	}
}
