//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A line from the terminal is taken once, and only in the foreground. That another process takes it first does not make
// crpie wait for the next, and a terminal that has gone is not asked again.
func TestEnter(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer master.Close()
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	name := fmt.Sprintf("/dev/pts/%d", number)
	tty, err := unix.Open(name, unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer unix.Close(tty)
	ours := func() bool { return true }
	taken := func() bool {
		n, err := unix.Read(tty, make([]byte, 16))
		return n == 1 && err == nil
	}
	for _, c := range []struct {
		name          string
		types         string
		inForeground  func() bool
		pressed, gone bool
	}{
		{"nothing", "", ours, false, false},
		{"another's", "\n", func() bool { return false }, false, false},
		{"the same line", "", ours, true, false},
		{"taken by another", "\n", taken, false, false},
		{"a line", "go on\n", ours, true, false},
		{"the end", "\x04", ours, true, false},
	} {
		_, err := master.WriteString(c.types)
		must(t, err)
		if pressed, gone := enterOf(tty, c.inForeground); pressed != c.pressed || gone != c.gone {
			t.Errorf("%s: pressed %v, gone %v", c.name, pressed, gone)
		}
	}
	must(t, master.Close())
	if pressed, gone := enterOf(tty, ours); pressed || !gone {
		t.Errorf("its other end is closed: pressed %v, gone %v", pressed, gone)
	}
}
