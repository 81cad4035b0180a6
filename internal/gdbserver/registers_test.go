//go:build linux

package gdbserver

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"testing"

	"github.com/crpie/crpie/internal/sys"
)

// machines are CPUs without and with AVX.
var machines = []Machine{{}, {YMM: 576}}

// The packets are as long as the registers that the description names.
func TestDescription(t *testing.T) {
	for _, m := range machines {
		var target struct {
			Features []struct {
				Name      string `xml:"name,attr"`
				Registers []struct {
					Name string `xml:"name,attr"`
					Bits int    `xml:"bitsize,attr"`
				} `xml:"reg"`
			} `xml:"feature"`
		}
		if err := xml.Unmarshal([]byte(m.Description()), &target); err != nil {
			t.Fatal(err)
		}
		bits, names := 0, map[string]bool{}
		for _, f := range target.Features {
			for _, r := range f.Registers {
				bits += r.Bits
				names[r.Name] = true
			}
		}
		if bits/8 != m.Size() || !names["rip"] || !names["st7"] || !names["xmm15"] ||
			names["ymm15h"] != (m.YMM != 0) {
			t.Errorf("%d bytes, %d in packets: %v", bits/8, m.Size(), names)
		}
	}
}

// Each byte that gdb writes comes back, and nothing else of the XSAVE area changes.
func TestRegistersComeBack(t *testing.T) {
	for _, m := range machines {
		r, xstate := sys.Regs{Cs: 0x33, FsBase: 1 << 40}, make([]byte, 1024)
		xstate[xsaveFTW], xstate[900] = 0xff, 7
		if was := bytes.Clone(xstate); m.unpack(m.pack(&r, xstate), &r, xstate) || !bytes.Equal(was, xstate) {
			t.Error("nothing was written")
		}
		b := m.pack(&r, xstate)
		for i := range b[:generalSize-6*4] {
			b[i] = byte(i)
		}
		for i := generalSize + 8*stSize + 8*4; i < m.Size()-2*8; i++ { // vectors
			b[i] = byte(i + 1)
		}
		if !m.unpack(b, &r, xstate) || !bytes.Equal(m.pack(&r, xstate), b) {
			t.Errorf("%x\n%x", m.pack(&r, xstate), b)
		}
		features := binary.LittleEndian.Uint64(xstate[sys.XsaveHeader:])
		if r.Cs != 0x33 || r.FsBase != 1<<40 || xstate[900] != 7 || features&3 != 3 ||
			features&4 != 0 != (m.YMM != 0) {
			t.Errorf("%+v, features %#x", r, features)
		}
	}
}

// The x87 tag word has two bits for each register, by its number and not by its place on the stack.
func TestTags(t *testing.T) {
	xstate := make([]byte, 1024)
	binary.LittleEndian.PutUint16(xstate[xsaveFSW:], 6<<11) // st0 is register 6
	xstate[xsaveFTW] = 1<<6 | 1<<7 | 1<<0
	one := []byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f}
	copy(xstate[xsaveST:], one)                                             // register 6: valid; 7 is zero
	copy(xstate[xsaveST+2*16:], "\x00\x00\x00\x00\x00\x00\x00\x80\xff\x7f") // register 0: infinity
	if got, want := tags(xstate), uint32(0b01_00_11_11_11_11_11_10); got != want {
		t.Errorf("%016b, want %016b", got, want)
	}
	again := bytes.Clone(xstate)
	words := x87(xstate)
	setX87(again, &words)
	if !bytes.Equal(again, xstate) {
		t.Errorf("%x", again[:xsaveST])
	}
}
