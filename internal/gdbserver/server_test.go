//go:build linux

package gdbserver

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// memory is a thread whose memory begins at 0x1000.
type memory struct {
	bytes     []byte
	registers []byte
	killed    atomic.Bool
}

func (m *memory) Machine() Machine   { return Machine{} }
func (m *memory) ID() int            { return 0x12 }
func (m *memory) Others() []int      { return []int{0x34} }
func (m *memory) Name(id int) string { return fmt.Sprintf("thread %#x", id) }

func (m *memory) Registers(id int) ([]byte, error) {
	if id != m.ID() {
		return []byte("others"), nil
	}
	return m.registers, nil
}

func (m *memory) Executable() string { return "/bin/}#" }
func (m *memory) Auxv() []byte       { return nil }

func (m *memory) Stands() error {
	if m.killed.Load() {
		return ErrKilled
	}
	return nil
}

func (m *memory) SetRegisters(b []byte) error {
	m.registers = bytes.Clone(b)
	return nil
}

func (m *memory) Read(addr uint64, b []byte) int {
	if addr < 0x1000 || addr >= 0x1000+uint64(len(m.bytes)) {
		return 0
	}
	return copy(b, m.bytes[addr-0x1000:])
}

func (m *memory) Write(addr uint64, b []byte) error {
	if addr < 0x1000 || addr+uint64(len(b)) > 0x1000+uint64(len(m.bytes)) {
		return errors.New("nothing there")
	}
	copy(m.bytes[addr-0x1000:], b)
	return nil
}

// debugger is gdb's end of the line.
type debugger struct {
	*testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (d *debugger) say(packet string) {
	d.Helper()
	if _, err := d.conn.Write(encode(packet)); err != nil {
		d.Fatal(err)
	}
}

func (d *debugger) ask(packet string) (reply string) {
	d.Helper()
	d.say(packet)
	return d.reply()
}

func (d *debugger) reply() string {
	d.Helper()
	text, err := d.in.ReadString('#')
	if err != nil {
		d.Fatalf("%q, %v", text, err)
	}
	sum := make([]byte, 2)
	_, _ = d.in.Read(sum)
	text = strings.TrimLeft(text, "+")
	if want := string(encode(text[1 : len(text)-1])); want != text+string(sum) {
		d.Fatalf("%q with sum %s", text, sum)
	}
	return text[1 : len(text)-1]
}

// serve runs a server for a thread, and gives the debugger's end.
func serve(t *testing.T, m *memory) (d *debugger, s *Server, resumed <-chan Resume) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	s, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan Resume, 1)
	go func() {
		r, err := s.Serve(t.Context(), m, 5, nil)
		if err == nil {
			done <- r
		}
		close(done)
	}()
	return &debugger{t, conn, bufio.NewReader(conn)}, s, done
}

// Every packet that gdb needs has its answer, and what nobody knows an empty one.
func TestAnswers(t *testing.T) {
	size := Machine{}.Size()
	m := &memory{bytes: []byte("0123456789"), registers: make([]byte, size)}
	d, s, resumed := serve(t, m)
	for _, c := range []struct{ packet, reply string }{
		{"?", "T05thread:12;"}, {"qAttached", "1"}, {"Hg0", "OK"}, {"vMustReplyEmpty", ""},
		{"qC", "QC12"}, {"qfThreadInfo", "m12,34"}, {"qsThreadInfo", "l"}, {"T34", "OK"}, {"T35", "E01"},
		{"T", "E01"},
		{"qThreadExtraInfo,34", hex.EncodeToString([]byte("thread 0x34"))}, {"qThreadExtraInfo,3", "E01"},
		{"Hg34", "OK"}, {"g", hex.EncodeToString([]byte("others"))}, {"G" + strings.Repeat("01", size), "E01"},
		{"Hg99", "E01"}, {"H", "E01"}, {"Hc-1", "OK"}, {"Hg12", "OK"},
		{"qXfer:memory-map:read::0,10", ""}, {"m1000,3", "303132"}, {"m1008,8", "3839"}, {"m0,4", "E01"},
		{"m1000", "E01"}, {"mffffffffffffffff,2", "E01"},
		{"M1001,2:4142", "OK"}, {"M1001,3:4142", "E01"}, {"M100a,1:41", "E01"}, {"m1000,4", "30414233"},
		{"Z0,1001,1", "OK"}, {"Z0,1001,1", "OK"}, {"Z0,2000,1", "E01"}, {"Z1,1001,1", ""},
		{"m1000,4", "30414233"},
		{"M1001,2:4344", "OK"}, {"m1000,4", "30434433"},
		{"G00", "E01"}, {"g", strings.Repeat("00", size)},
		{"G" + strings.Repeat("01", size), "OK"}, {"g", strings.Repeat("01", size)},
		{"qXfer:exec-file:read::0,4", "m/bin"}, {"qXfer:exec-file:read::4,100", "l/}]}\x03"},
		{"qXfer:exec-file:read::999,1", "l"}, {"qXfer:auxv:read::0,8", "l"},
	} {
		if got := d.ask(c.packet); got != c.reply {
			t.Errorf("%s: %q, want %q", c.packet, got, c.reply)
		}
	}
	d.say("c")
	<-resumed
	if hex.EncodeToString(m.bytes[:4]) != "30cc4433" { // gdb does not see its breakpoint
		t.Errorf("%x", m.bytes)
	}
	if err := s.hangUp(m); err != nil || string(m.bytes[:4]) != "0CD3" {
		t.Errorf("%v, %q", err, m.bytes)
	}
}

// A packet that is damaged is asked for again; one that never ends closes the line.
func TestDamagedPackets(t *testing.T) {
	d, _, _ := serve(t, &memory{})
	fmt.Fprint(d.conn, "noise$qAttached#00")
	if b, err := d.in.ReadByte(); b != '-' || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if got := d.ask("qAttached"); got != "1" {
		t.Errorf("%q", got)
	}
	go fmt.Fprint(d.conn, "$"+strings.Repeat("x", maxPacket+1))
	if b, err := d.in.ReadByte(); err == nil {
		t.Errorf("%q", b)
	}
}

// Continuing, stepping, a signal and leaving are told to the caller; at the end nothing is left.
func TestResuming(t *testing.T) {
	for packet, want := range map[string]Resume{
		"c": {}, "s": {Step: true}, "C0b": {Signal: 11}, "S05": {true, 5}, "D": {},
	} {
		m := &memory{bytes: []byte("0123456789")}
		d, s, resumed := serve(t, m)
		d.ask("Z0,1001,1")
		if packet == "D" {
			d.ask(packet)
			d.conn.Close()
		} else {
			d.say(packet)
		}
		if got, ok := <-resumed; !ok || got != want || packet == "D" != (m.bytes[1] == '1') {
			t.Errorf("%s: %+v, %v, %q", packet, got, ok, m.bytes)
		}
		if packet != "D" {
			go func() {
				if d.reply() == "W00" {
					d.conn.Close()
				}
			}()
		}
		if err := s.Close(m); err != nil || m.bytes[1] != '1' {
			t.Errorf("%s: %v, %q", packet, err, m.bytes)
		}
		if _, err := os.Stat(filepath.Dir(s.Path())); !os.IsNotExist(err) {
			t.Errorf("%s: %v", packet, err)
		}
	}
}

// When gdb goes away its breakpoints go, too, and another one can come.
func TestDebuggerThatGoesAway(t *testing.T) {
	m := &memory{bytes: []byte("0123456789")}
	d, s, resumed := serve(t, m)
	d.ask("Z0,1001,1")
	d.conn.Close()
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	d = &debugger{t, conn, bufio.NewReader(conn)}
	if got := d.ask("m1000,2"); got != "3031" {
		t.Errorf("%q", got)
	}
	d.say("c")
	if <-resumed; m.bytes[1] != '1' {
		t.Errorf("%q", m.bytes)
	}
	d.conn.Close()
	if err := s.Close(m); err != nil {
		t.Error(err)
	}
}

// A $TMPDIR with a long path is no obstacle.
func TestLongTemporaryDirectory(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	s, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(nil); err != nil {
		t.Error(err)
	}
}

// A thread that is killed is not waited for.
func TestKilledThread(t *testing.T) {
	m := &memory{}
	_, s, resumed := serve(t, m)
	m.killed.Store(true)
	if _, ok := <-resumed; ok {
		t.Error("it goes on")
	}
	if err := s.Close(m); err != nil {
		t.Error(err)
	}
}
