//go:build linux

package gdbserver

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// stopReply tells why the thread stands. Where gdb understands it, a breakpoint is named: the thread is at its address
// then, not behind it.
func (s *Server) stopReply(t Thread, signal int) string {
	reply := fmt.Sprintf("T%02xthread:%x;", signal, t.ID())
	if s.atBreakpoint && s.tellsBreaks {
		reply += "swbreak:;"
	}
	return reply
}

// answer carries out a packet. An unknown one gets an empty reply, and gdb does without.
func (s *Server) answer(t Thread, packet string, signal int) (reply *string, resume *Resume, err error) {
	if packet == interrupt { // it stands already
		return nil, nil, nil
	}
	say := func(text string) (*string, *Resume, error) { return &text, nil, nil }
	command, rest := packet[:min(1, len(packet))], packet[min(1, len(packet)):]
	switch command {
	case "?":
		return say(s.stopReply(t, signal))
	case "c", "s", "C", "S":
		s.running = true
		r := resumption(command, rest)
		return nil, &r, nil
	case "D", "k":
		s.send("OK")
		s.awaitEnd()
		return nil, &Resume{}, s.hangUp(t)
	case "H":
		return say(s.choose(t, rest))
	case "T":
		return say(alive(t, rest))
	case "Z", "z":
		return say(s.breakpoint(t, command == "Z", rest))
	case "q":
		return say(s.query(t, rest))
	}
	text, err := s.access(t, command, rest)
	if err != nil {
		text = "E01"
	}
	return say(text)
}

// resumption reads a command that lets the thread go on, with the number of a signal or without. An address to go on at
// is in none that gdb sends.
func resumption(command, rest string) Resume {
	r := Resume{Step: strings.EqualFold(command, "s")}
	if command == "C" || command == "S" {
		number, _ := strconv.ParseUint(rest, 16, 8)
		r.Signal = int(number)
	}
	return r
}

// choose takes note of the thread whose registers gdb asks for from now on: "gTHREAD"; 0 and -1 leave it to the server.
// Of others, such as "cTHREAD", nothing has to be known: the thread that runs the hook goes on, and no other.
func (s *Server) choose(t Thread, rest string) string {
	id, ok := threadOf(t, rest[min(1, len(rest)):])
	if !ok {
		return "E01"
	}
	if strings.HasPrefix(rest, "g") {
		s.shown = id
	}
	return "OK"
}

func alive(t Thread, rest string) string {
	if _, ok := threadOf(t, rest); !ok {
		return "E01"
	}
	return "OK"
}

// threadOf reads the number of a thread that gdb may look at.
func threadOf(t Thread, text string) (id int, ok bool) {
	if text == "-1" || text == "0" {
		return t.ID(), true
	}
	number, err := strconv.ParseInt(text, 16, 32)
	return int(number), err == nil && slices.Contains(append(t.Others(), t.ID()), int(number))
}

// listThreads numbers all threads, the one that runs the hook first.
func listThreads(t Thread) string {
	list := fmt.Sprintf("m%x", t.ID())
	for _, id := range t.Others() {
		if len(list)+16 > maxPacket {
			break
		}
		list += fmt.Sprintf(",%x", id)
	}
	return list
}

// query answers questions about the thread.
func (s *Server) query(t Thread, rest string) string {
	if text, ok := strings.CutPrefix(rest, "ThreadExtraInfo,"); ok {
		id, ok := threadOf(t, text)
		if !ok {
			return "E01"
		}
		return hex.EncodeToString([]byte(t.Name(id)))
	}
	name, args, _ := strings.Cut(rest, ":")
	switch name {
	case "C":
		return fmt.Sprintf("QC%x", t.ID())
	case "fThreadInfo":
		return listThreads(t)
	case "sThreadInfo":
		return "l"
	case "Supported":
		s.tellsBreaks = slices.Contains(strings.Split(args, ";"), "swbreak+")
		features := fmt.Sprintf("PacketSize=%x;swbreak+;qXfer:features:read+;qXfer:auxv:read+", maxPacket)
		if t.Executable() != "" {
			features += ";qXfer:exec-file:read+"
		}
		return features
	case "Attached":
		return "1" // so that gdb lets go at its end
	case "Xfer":
		return transfer(t, args)
	}
	return ""
}

// transfer gives a part of something: its name, "read", an annex, offset and length.
func transfer(t Thread, args string) string {
	words := strings.Split(args, ":")
	if len(words) != 4 || words[1] != "read" {
		return ""
	}
	all := map[string]func() []byte{
		"features": func() []byte { return []byte(t.Machine().Description()) }, "auxv": t.Auxv,
		"exec-file": func() []byte { return []byte(t.Executable()) },
	}[words[0]]
	from, length, err := twoNumbers(words[3], ",")
	if all == nil || err != nil {
		return ""
	}
	data := all()
	rest := data[min(from, uint64(len(data))):]
	if length >= uint64(len(rest)) {
		return "l" + escaped(rest)
	}
	return "m" + escaped(rest[:length])
}

// access reads or writes registers or memory.
func (s *Server) access(t Thread, command, rest string) (string, error) {
	switch command {
	case "g":
		b, err := t.Registers(cmp.Or(s.shown, t.ID()))
		return hex.EncodeToString(b), err
	case "G":
		b, err := hex.DecodeString(rest)
		if err != nil || len(b) < t.Machine().Size() {
			return "", errors.New("not all registers")
		}
		if s.shown != 0 && s.shown != t.ID() {
			return "", errors.New("another thread is the program's")
		}
		return "OK", t.SetRegisters(b[:t.Machine().Size()])
	case "m":
		addr, length, err := twoNumbers(rest, ",")
		if err != nil {
			return "", err
		}
		b := make([]byte, min(length, maxPacket/2-16))
		b = b[:t.Read(addr, b)]
		if len(b) == 0 && length > 0 {
			return "", errors.New("no memory")
		}
		s.code.hide(addr, b)
		return hex.EncodeToString(b), nil
	case "M":
		where, text, _ := strings.Cut(rest, ":")
		addr, length, err := twoNumbers(where, ",")
		b, err2 := hex.DecodeString(text)
		if err := errors.Join(err, err2); err != nil || length != uint64(len(b)) {
			return "", errors.New("not as many bytes as it says")
		}
		return "OK", t.Write(addr, s.code.keep(addr, b))
	}
	return "", nil
}

func twoNumbers(text, between string) (a, b uint64, err error) {
	first, second, _ := strings.Cut(text, between)
	a, err = strconv.ParseUint(first, 16, 64)
	if err == nil {
		b, err = strconv.ParseUint(second, 16, 64)
	}
	return a, b, err
}
