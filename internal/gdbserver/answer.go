package gdbserver

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// target describes the machine: with nothing said gdb takes it for an i386.
const target = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture></target>`

func stopReply(signal int) string { return fmt.Sprintf("S%02x", signal) }

// answer carries out a packet. An unknown one gets an empty reply, and gdb does without.
func (s *Server) answer(t Thread, packet string, signal int) (reply *string, resume *Resume, err error) {
	if packet == interrupt { // it stands already
		return nil, nil, nil
	}
	say := func(text string) (*string, *Resume, error) { return &text, nil, nil }
	command, rest := packet[:min(1, len(packet))], packet[min(1, len(packet)):]
	switch command {
	case "?":
		return say(stopReply(signal))
	case "c", "s", "C", "S":
		s.running = true
		r := resumption(command, rest)
		return nil, &r, nil
	case "D", "k":
		s.send("OK")
		s.awaitEnd()
		return nil, &Resume{}, s.hangUp(t)
	case "H", "T":
		return say("OK")
	case "Z", "z":
		return say(s.breakpoint(t, command == "Z", rest))
	case "q":
		return say(query(t, rest))
	}
	text, err := access(t, &s.code, command, rest)
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

// query answers questions about the thread.
func query(t Thread, rest string) string {
	name, args, _ := strings.Cut(rest, ":")
	switch name {
	case "Supported":
		features := fmt.Sprintf("PacketSize=%x;qXfer:features:read+;qXfer:auxv:read+", maxPacket)
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
		"features": func() []byte { return []byte(target) }, "auxv": t.Auxv,
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
func access(t Thread, code *breakpoints, command, rest string) (string, error) {
	switch command {
	case "g":
		b, err := t.Registers()
		return hex.EncodeToString(b), err
	case "G":
		b, err := hex.DecodeString(rest)
		if err != nil || len(b) < RegistersSize {
			return "", errors.New("not all registers")
		}
		return "OK", t.SetRegisters(b[:RegistersSize])
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
		code.hide(addr, b)
		return hex.EncodeToString(b), nil
	case "M":
		where, text, _ := strings.Cut(rest, ":")
		addr, length, err := twoNumbers(where, ",")
		b, err2 := hex.DecodeString(text)
		if err := errors.Join(err, err2); err != nil || length != uint64(len(b)) {
			return "", errors.New("not as many bytes as it says")
		}
		return "OK", t.Write(addr, code.keep(addr, b))
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
