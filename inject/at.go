//go:build linux && amd64

package inject

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
)

// Moment says when a program that was started is to be stopped.
type Moment struct {
	Kind   MomentKind
	After  time.Duration // of AtTime, since the program was executed
	Name   string        // of AtFunction, or the text of AtOutput
	Signal unix.Signal   // of AtSignal
}

// MomentKind is a kind of Moment.
type MomentKind int

// The kinds.
const (
	AtMain     MomentKind = iota // before the first instruction of its main function
	AtEntry                      // before its first own instruction: libraries are loaded and initialised
	AtTime                       // wherever it is then
	AtSignal                     // before a signal is delivered
	AtFunction                   // before the first instruction of a function
	AtOutput                     // after a write to descriptor 1 or 2 that completes a text
)

// ParseMoment reads "entry", "main", "500ms", "signal:SIGUSR1", "function:NAME" or "output:TEXT".
func ParseMoment(text string) (Moment, error) {
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case text == "main":
		return Moment{Kind: AtMain}, nil
	case text == "entry":
		return Moment{Kind: AtEntry}, nil
	case found && kind == "function" && rest != "":
		return Moment{Kind: AtFunction, Name: rest}, nil
	case found && kind == "output" && rest != "":
		return Moment{Kind: AtOutput, Name: rest}, nil
	case found && kind == "signal":
		return signalMoment(rest)
	}
	after, err := time.ParseDuration(text)
	if err != nil || after < 0 {
		return Moment{}, fmt.Errorf("%q is no moment: give entry, main, a time like 500ms, signal:NAME, "+
			"function:NAME or output:TEXT", text)
	}
	return Moment{Kind: AtTime, After: after}, nil
}

const lastSignal = 64 // SIGRTMAX, signal(7)

// signalMoment reads signal:NAME or signal:NUMBER. SIGSTOP can be waited for: a tracer sees it before it acts.
func signalMoment(name string) (Moment, error) {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if n, err := strconv.ParseUint(name, 10, 8); err == nil && n <= lastSignal {
		sig = unix.Signal(n)
	}
	switch sig {
	case 0:
		return Moment{}, fmt.Errorf("signal:%s: there is no such signal", name)
	case unix.SIGKILL:
		return Moment{}, fmt.Errorf("signal:%s: no process can be stopped before SIGKILL, signal(7)", name)
	}
	return Moment{Kind: AtSignal, Signal: sig}, nil
}

// String spells it as ParseMoment reads it.
func (m Moment) String() string {
	switch m.Kind {
	case AtEntry:
		return "entry"
	case AtTime:
		return m.After.String()
	case AtSignal:
		return "signal:" + changes.SignalName(m.Signal)
	case AtFunction:
		return "function:" + m.Name
	case AtOutput:
		return "output:" + m.Name
	}
	return "main"
}
