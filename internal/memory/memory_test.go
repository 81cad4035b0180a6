package memory

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

func TestAlignUp(t *testing.T) {
	for _, tc := range []struct{ n, to, want uint64 }{
		{0, 8, 0}, {1, 8, 8}, {8, 8, 8}, {9, 8, 16}, {4097, 4096, 8192},
		{math.MaxUint64 - 4095, 4096, math.MaxUint64 - 4095},
		{math.MaxUint64 - 4094, 4096, math.MaxUint64}, {math.MaxUint64, 1, math.MaxUint64},
	} {
		if got := AlignUp(tc.n, tc.to); got != tc.want {
			t.Errorf("%#x to a multiple of %d: %#x, want %#x", tc.n, tc.to, got, tc.want)
		}
	}
	if PageUp(1) != 4096 || PageDown(4095) != 0 || PageDown(8191) != 4096 {
		t.Errorf("pages: %d, %d, %d", PageUp(1), PageDown(4095), PageDown(8191))
	}
}

func TestLargestHole(t *testing.T) {
	for name, tc := range map[string]struct {
		used []Span
		want Span
	}{
		"nothing used": {nil, Span{LowestAddr, HighestAddr}},
		"all used":     {[]Span{{0, math.MaxUint64}}, Span{}},
		"unsorted":     {[]Span{{0x50000000, HighestAddr}, {0, 0x40000000}}, Span{0x40000000, 0x50000000}},
		"one in the other": {[]Span{{0, 0x7d0000000000}, {0x1000000, 0x2000000}},
			Span{0x7d0000000000, HighestAddr}},
		"the first of two": {[]Span{{0x200000, 0x300000}, {0x400000, HighestAddr}},
			Span{LowestAddr, 0x200000}},
		"beyond both edges": {[]Span{{0, 0x1000}, {HighestAddr + 0x1000, HighestAddr + 0x2000}},
			Span{LowestAddr, HighestAddr}},
	} {
		if got := LargestHole(tc.used); got != tc.want {
			t.Errorf("%s: %#x, want %#x", name, got, tc.want)
		}
	}
}

// pair is a struct of two 32-bit members.
type pair struct{ first, second uint32 }

func (p *pair) Bytes() int { return 8 }

func (p *pair) Put(b []byte) {
	binary.LittleEndian.PutUint32(b, p.first)
	binary.LittleEndian.PutUint32(b[4:], p.second)
}

func TestArena(t *testing.T) {
	a := NewArena(0x1000)
	addrs := []uint64{
		a.String("ab"), a.String("c"), a.String("ab"), a.Bytes([]byte{7}), a.Words(1, 2),
		Records(a, []pair{{3, 4}, {5, 6}}), a.Reserve(0),
	}
	for i, want := range []uint64{0x1000, 0x1003, 0x1000, 0x1008, 0x1010, 0x1020, 0x1030} {
		if addrs[i] != want {
			t.Errorf("address %d is %#x, want %#x", i, addrs[i], want)
		}
	}
	want := "ab\x00c\x00\x00\x00\x00" + "\x07\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00" +
		"\x03\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00"
	if got := a.Contents(); string(got) != want || a.End() != 0x1030 || !bytes.Equal(a.At(0x1020), got[0x20:]) {
		t.Errorf("contents %q to %#x", got, a.End())
	}
}

func TestLookup(t *testing.T) {
	a := NewArena(0x1000)
	addr := a.String("name")
	if got := a.Lookup(addr); string(got) != "name\x00" {
		t.Errorf("got %q", got)
	}
	for _, nowhere := range []uint64{0, 0xfff, a.End(), math.MaxUint64} {
		if got := a.Lookup(nowhere); got != nil {
			t.Errorf("%#x has %q", nowhere, got)
		}
	}
}
