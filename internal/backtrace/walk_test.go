package backtrace

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/crpie/crpie/internal/dwarfline"
)

// fake is a space whose code, libraries apart, is a plugin's.
type fake struct {
	memory  map[uint64]byte
	rows    map[uint64]dwarfline.Row
	library uint64 // code from here on is not the plugin's
}

// Code lies below codeEnd, the stack from stack on; endCode calls plugins.
const codeEnd, endCode, stack = 0x10000, 0x8000, 0x20000

func (f *fake) isCode(addr uint64) bool   { return addr >= 0x1000 && addr < codeEnd }
func (f *fake) isPlugin(addr uint64) bool { return f.isCode(addr) && addr < f.library }
func (f *fake) isEnd(addr uint64) bool    { return addr == endCode }

func (f *fake) read(addr uint64, b []byte) bool {
	for i := range b {
		b[i] = f.memory[addr+uint64(i)]
	}
	return addr < stack+0x1000
}

func (f *fake) unwind(addr uint64, r *Registers) (caller Registers, ok bool) {
	row, ok := f.rows[addr]
	if !ok {
		return caller, false
	}
	return row.Caller(r, func(addr uint64) (uint64, bool) { return word(f, addr) })
}

func (f *fake) put(addr uint64, b ...byte) {
	for i, c := range b {
		f.memory[addr+uint64(i)] = c
	}
}

func (f *fake) word(addr, value uint64) { f.put(addr, binary.LittleEndian.AppendUint64(nil, value)...) }

// call writes a call instruction that ends at an address.
func (f *fake) call(end uint64) { f.put(end-5, 0xe8, 1, 2, 3, 4) }

func newFake() *fake {
	return &fake{memory: map[uint64]byte{}, rows: map[uint64]dwarfline.Row{}, library: 0x4000}
}

func (f *fake) walk(pc, fp uint64) (found []uint64, how []How) {
	for _, frame := range walk(f, Registers{framePointer: fp, stackPointer: stack, returns: pc}, stack+0x1000) {
		found = append(found, frame.registers[returns])
		how = append(how, frame.found)
	}
	return found, how
}

// Each way finds a caller, and the surest is taken.
func TestCallers(t *testing.T) {
	saved := dwarfline.Row{Register: stackPointer, Offset: 32, Returns: returns}
	saved.Rules[returns] = dwarfline.Rule{Kind: dwarfline.Saved, Offset: -8}
	for name, c := range map[string]struct {
		pc, fp uint64
		row    bool
		want   How
	}{
		"call frame information": {0x5000, 0, true, Exact},
		"a call of nothing":      {0x10, 0, false, Exact},
		"frame pointer":          {0x5000, stack + 0x40, false, ByFramePointer},
		"the stack":              {0x5000, 0, false, OnStack},
		"a frame pointer below":  {0x5000, stack - 0x40, false, OnStack},
	} {
		f := newFake()
		for _, end := range []uint64{0x2000, 0x6000} {
			f.call(end)
		}
		if c.row {
			f.rows[c.pc] = saved
		}
		at := stack + map[string]uint64{"call frame information": 24, "a call of nothing": 0, "frame pointer": 0x48,
			"the stack": 0x80, "a frame pointer below": 0x80}[name]
		f.word(stack+0x10, 0x6000) // a library's, left from earlier
		f.word(stack+0x18, 0x2001) // behind no call
		f.word(at, 0x2000)
		if found, how := f.walk(c.pc, c.fp); len(found) < 2 || found[1] != 0x2000 || how[1] != c.want {
			t.Errorf("%s: %#x, %v", name, found, how)
		}
	}
}

// A walk ends where crpie has called the plugin, and in memory that leads in a circle.
func TestEndOfWalk(t *testing.T) {
	f := newFake()
	f.word(stack+0x48, endCode)
	f.word(stack+0x80, 0x2000)
	f.call(0x2000)
	if found, _ := f.walk(0x5000, stack+0x40); len(found) != 1 {
		t.Errorf("%#x", found)
	}
	f = newFake()
	f.call(0x2000)
	f.word(stack+0x40, stack+0x40)
	f.word(stack+0x48, 0x2000)
	if found, _ := f.walk(0x5000, stack+0x40); !slices.Equal(found, []uint64{0x5000, 0x2000}) {
		t.Errorf("%#x", found)
	}
	f = newFake()
	f.call(0x2000)
	for at := uint64(stack); at < stack+0x1000; at += 8 {
		f.word(at, 0x2000)
	}
	if found, _ := f.walk(0x5000, 0); len(found) != maxFrames {
		t.Errorf("%d frames", len(found))
	}
}

// Every form of a near call is one; what only looks like one at its end is none.
func TestCallInstructions(t *testing.T) {
	for name, c := range map[string]struct {
		code []byte
		want bool
	}{
		"rel32":            {[]byte{0xe8, 0, 0, 0, 0}, true},
		"rax":              {[]byte{0xff, 0xd0}, true},
		"r11":              {[]byte{0x41, 0xff, 0xd3}, true},
		"[rax]":            {[]byte{0xff, 0x10}, true},
		"[rsp+8]":          {[]byte{0xff, 0x54, 0x24, 8}, true},
		"[rbx+rcx*8]":      {[]byte{0xff, 0x14, 0xcb}, true},
		"[rip+4]":          {[]byte{0xff, 0x15, 4, 0, 0, 0}, true},
		"[rax+0x1000]":     {[]byte{0xff, 0x90, 0, 0x10, 0, 0}, true},
		"[rsp+0x1000]":     {[]byte{0xff, 0x94, 0x24, 0, 0x10, 0, 0}, true},
		"[rcx*8+0x1000]":   {[]byte{0xff, 0x14, 0xcd, 0, 0x10, 0, 0}, true},
		"jmp rax":          {[]byte{0xff, 0xe0}, false},
		"push rax":         {[]byte{0xff, 0xf0}, false},
		"ret":              {[]byte{0xc3}, false},
		"rel32, one short": {[]byte{0xe8, 0, 0, 0}, false},
	} {
		f := newFake()
		f.put(0x2000-uint64(len(c.code)), c.code...)
		if got := followsCall(f, 0x2000); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
