package dwarfline_test

import (
	"testing"

	"github.com/crpie/crpie/internal/dwarfline"
)

// Rows follow the code: what a prologue saves is known behind it, and no more behind the epilogue.
func TestRows(t *testing.T) {
	const rsp, rbx, rbp, rip, align = 7, 3, 6, 16, 0x78 // LEB128: -8
	cie := entry(0xffffffff, 3, 0, 1, align, rip, 0x0c, rsp, 8, 0x80|rip, 1)
	code := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0}
	fde := entry(0, append(code,
		0x40|1, 0x0e, 16, 0x80|rbp, 2, // push rbp
		0x40|3, 0x0d, rbp, // mov rbp, rsp
		0x02, 8, 0x80|rbx, 3, // push rbx
		0x0a, 0x40|2, 0xc0|rbx, 0x0c, rsp, 8, // leave
		0x40|1, 0x0b, // behind ret
		0x40|4, 0x0f, 1, 0x50)...) // by an expression
	frames := dwarfline.Frames{Data: append(cie, fde...), StackPointer: rsp}
	type want struct {
		register uint64
		offset   int64
		rbx, rbp dwarfline.Rule
	}
	same := dwarfline.Rule{}
	saved := func(at int64) dwarfline.Rule { return dwarfline.Rule{Kind: dwarfline.Saved, Offset: at} }
	wanted := map[uint64]want{
		0: {rsp, 8, same, same}, 1: {rsp, 16, same, saved(-16)}, 3: {rsp, 16, same, saved(-16)},
		4: {rbp, 16, same, saved(-16)}, 12: {rbp, 16, saved(-24), saved(-16)}, 14: {rsp, 8, same, saved(-16)},
		15: {rbp, 16, saved(-24), saved(-16)}, 18: {rbp, 16, saved(-24), saved(-16)},
	}
	visited := 0
	frames.Entries(func(e *dwarfline.Entry) bool {
		visited++
		for at, w := range wanted {
			row, ok := e.Row(at)
			got := want{row.Register, row.Offset, row.Rules[rbx], row.Rules[rbp]}
			if !ok || got != w || row.Returns != rip || row.Rules[rip] != saved(-8) {
				t.Errorf("at %d: %+v, %v; want %+v", at, row, ok, w)
			}
		}
		if _, ok := e.Row(19); ok {
			t.Error("an expression has a row")
		}
		return e.Length == 0x20
	})
	if visited != 1 {
		t.Errorf("%d entries", visited)
	}
}

// Instructions that no compiler writes are not carried out for each look.
func TestLongProgram(t *testing.T) {
	cie := entry(0xffffffff, 3, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x80|16, 1)
	code := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0}
	for length, want := range map[int]bool{1 << 10: true, 1<<16 + 64: false} {
		fde := entry(0, append(code, make([]byte, length)...)...)
		frames := dwarfline.Frames{Data: append(cie, fde...), StackPointer: 7}
		frames.Entries(func(e *dwarfline.Entry) bool {
			if _, ok := e.Row(1); ok != want {
				t.Errorf("%d bytes: a row: %v, want %v", length, ok, want)
			}
			return true
		})
	}
}

// Addresses of .eh_frame count from where they stand.
func TestStartOfEntry(t *testing.T) {
	cie := entry(0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b) // DW_EH_PE_pcrel | DW_EH_PE_sdata4
	fde := entry(uint32(len(cie)+4), 0xf0, 0xff, 0xff, 0xff, 8, 0, 0, 0, 0)
	frames := dwarfline.Frames{Data: append(cie, fde...), Unwind: true, StackPointer: 7, Address: 0x1000}
	visited := 0
	frames.Entries(func(e *dwarfline.Entry) bool {
		visited++
		if e.Start != 0x1000+e.At-16 || e.Length != 8 {
			t.Errorf("%#x, %d bytes", e.Start, e.Length)
		}
		return true
	})
	if visited != 1 {
		t.Errorf("%d entries", visited)
	}
}
