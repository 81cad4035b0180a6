//go:build linux

package gdbserver

import (
	"errors"
	"strings"
)

// breakpoints are those in the code: the byte of the program by address.
type breakpoints map[uint64]byte

// trap is int3.
const trap = 0xcc

// breakpoint inserts or removes one of software, "0,ADDRESS,KIND"; gdb does without other kinds.
func (s *Server) breakpoint(t Thread, insert bool, rest string) string {
	kind, where, _ := strings.Cut(rest, ",")
	addr, _, err := twoNumbers(where, ",")
	switch {
	case kind != "0":
		return ""
	case err == nil && insert:
		err = s.code.insert(t, addr)
	case err == nil:
		err = s.code.remove(t, addr)
	}
	if err != nil {
		return "E01"
	}
	return "OK"
}

func (c breakpoints) insert(t Thread, addr uint64) error {
	if _, there := c[addr]; there {
		return nil
	}
	b := make([]byte, 1)
	if t.Read(addr, b) != 1 {
		return errors.New("no memory")
	}
	if err := t.Write(addr, []byte{trap}); err != nil {
		return err
	}
	c[addr] = b[0]
	return nil
}

func (c breakpoints) remove(t Thread, addr uint64) error {
	b, there := c[addr]
	if !there {
		return nil
	}
	delete(c, addr)
	return t.Write(addr, []byte{b})
}

func (c breakpoints) removeAll(t Thread) error {
	var errs []error
	for addr := range c {
		errs = append(errs, c.remove(t, addr))
	}
	return errors.Join(errs...)
}

// hide puts the program's bytes into what was read.
func (c breakpoints) hide(addr uint64, b []byte) {
	for at, was := range c {
		if at-addr < uint64(len(b)) {
			b[at-addr] = was
		}
	}
}

// keep leaves breakpoints in what is to be written.
func (c breakpoints) keep(addr uint64, b []byte) []byte {
	for at := range c {
		if at-addr < uint64(len(b)) {
			c[at], b[at-addr] = b[at-addr], trap
		}
	}
	return b
}
