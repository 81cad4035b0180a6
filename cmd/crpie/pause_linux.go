//go:build amd64

package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/pause"
)

// pauseFlagHelp is the same of restore and try.
const pauseFlagHelp = "Wait before the hooks of `STAGE[:PLUGIN]` for gdb, whose command line is printed, for Enter, or for SIGCONT."

// pauseAt makes what has a hook wait for a debugger. SIGCONT comes by the relay, if there is one.
func pauseAt(at pause.Point, w io.Writer, signals *relay) *pause.Options {
	goOn := make(chan struct{}, 1)
	announce := func(who *pause.Waiting) (over func()) {
		select {
		case <-goOn: // for a hook before
		default:
		}
		ignore := awaitContinue(goOn, signals)
		stop := make(chan struct{})
		enter := awaitEnter(goOn, stop)
		writeWaiting(w, who, enter != nil)
		return func() {
			ignore()
			close(stop)
			if enter != nil {
				<-enter
			}
		}
	}
	return &pause.Options{At: at, Announce: announce, GoOn: goOn}
}

// awaitContinue has SIGCONT let a hook go on, until ignore is called.
func awaitContinue(goOn chan<- struct{}, signals *relay) (ignore func()) {
	if signals != nil {
		signals.during(goOn)
		return func() { signals.during(nil) }
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, unix.SIGCONT)
	go func() {
		for range came {
			offer(goOn)
		}
	}()
	return func() {
		signal.Stop(came)
		close(came)
	}
}

// writeWaiting says what to do. The command is one line, so that it can be copied.
func writeWaiting(w io.Writer, who *pause.Waiting, enter bool) {
	key := ""
	if enter {
		key = "Enter here, or "
	}
	fmt.Fprintf(w, "crpie: process %d waits before hook %s of plugin %s. In another terminal:\n\n    %s\n\n"+
		"crpie: it goes on with \"continue\" or \"detach\" there, or with %skill -CONT %d\n", who.Pid, who.Stage,
		escape.Name(who.Plugin), escape.Name(shellWords(who.GDB)), key, os.Getpid())
}

// during has SIGCONT let a hook go on; nil: no more.
func (r *relay) during(goOn chan<- struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.goOn = goOn
}

func offer(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// awaitEnter waits for a line from the terminal, as long as this process is in its foreground. What comes after stop is
// the program's. It gives nil where there is no terminal, otherwise what is closed at the end.
func awaitEnter(goOn chan<- struct{}, stop <-chan struct{}) <-chan struct{} {
	if !inForeground() {
		return nil
	}
	// opened anew: others read from the terminal, too, and a flag of standard input would be theirs as well
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer unix.Close(tty)
		for {
			select {
			case <-stop:
				return
			default:
			}
			pressed, gone := enterOf(tty, inForeground)
			if pressed {
				offer(goOn)
			}
			if pressed || gone {
				return
			}
		}
	}()
	return over
}

// enterOf looks for a moment whether a terminal, which does not block, has a line or its end for this process. gone: it
// will have none any more.
func enterOf(tty int, inForeground func() bool) (pressed, gone bool) {
	const slice = 50 // ms
	fds := []unix.PollFd{{Fd: int32(tty), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds, slice); n != 1 {
		return false, false
	}
	if fds[0].Revents&^unix.POLLIN != 0 {
		return false, true
	}
	if !inForeground() { // somebody else's line, who may let it lie
		time.Sleep(slice * time.Millisecond)
		return false, false
	}
	line := make([]byte, 4096)
	switch n, err := unix.Read(tty, line); err {
	case nil:
		return n == 0 || strings.Contains(string(line[:n]), "\n"), false
	case unix.EAGAIN, unix.EINTR: // somebody was faster
		return false, false
	default:
		return false, true
	}
}

// inForeground reports whether standard input is a terminal from which this process may read, tcgetpgrp(3).
func inForeground() bool {
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
