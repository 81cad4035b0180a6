//go:build linux && amd64 && faults

package inject

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// faultAt makes the step of an order fail, or end the process as if somebody had killed it.
func faultAt(o order) (steps *int, done func()) {
	steps = new(int)
	return steps, sys.Faults(func(call string) error {
		if *steps++; *steps != o.Step {
			return nil
		}
		if o.Die {
			_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
		}
		_, _ = fmt.Fprintf(os.Stderr, "step %d is %s\n", *steps, call)
		return unix.EIO
	})
}

// everyStep counts the steps of an attachment and tries it with each. A rehearsal leaves no copy of the victim.
func everyStep(t *testing.T, victim string, rehearse bool, try func(t *testing.T, o order)) {
	all := order{Pid: testenv.Start(t, victim).Pid, Plugin: testenv.Plugin(t, traceSource), Rehearse: rehearse,
		Diff: rehearse}
	whole := all.carryOut(t)
	steps := whole.Steps
	if steps < 100 || whole.Error != "" {
		t.Fatalf("%d steps: %s", steps, whole.Error)
	}
	const chunk = 40
	for from := 1; from <= steps; from += chunk {
		p := testenv.Start(t, victim)
		for step := from; step < from+chunk && step <= steps; step++ {
			o := all
			o.Pid, o.Step = p.Pid, step
			try(t, o)
			awaitNoCopy(t, p.Pid)
		}
		p.MustPass(t)
	}
}

// awaitNoCopy waits until all children of a victim that has none are zombies: copies that die with crpie.
func awaitNoCopy(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); ; time.Sleep(time.Millisecond) {
		running := 0
		for _, child := range sys.Children(sys.PID(pid)) {
			if stateOf(t, int(child)) != "Z" {
				running++
			}
		}
		if running == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d copies are left", running)
		}
	}
}

// Each system call of an attachment fails in turn: the process goes on unharmed.
func TestEachStepFails(t *testing.T) {
	for _, victim := range []string{"avx", "threads"} {
		everyStep(t, victim, false, eachFails)
	}
}

// Each system call of a rehearsal fails in turn.
func TestEachStepOfARehearsalFails(t *testing.T) { everyStep(t, "threads", true, eachFails) }

func eachFails(t *testing.T, o order) {
	got := o.carryOut(t)
	if got.Error == "" && got.Steps >= o.Step {
		t.Logf("step %d may fail", o.Step)
	}
	for _, p := range got.Report.Processes {
		for _, c := range p.Calls {
			if !c.Failed && c.Took == 0 {
				t.Errorf("step %d: %+v was not made", o.Step, c)
			}
		}
	}
}

// crpie is killed at each step: the process goes on unharmed.
func TestKilledAtEachStep(t *testing.T) {
	for _, victim := range []string{"avx", "threads", "static"} {
		everyStep(t, victim, false, eachKills)
	}
}

// crpie is killed at each step of a rehearsal.
func TestKilledAtEachStepOfARehearsal(t *testing.T) { everyStep(t, "threads", true, eachKills) }

func eachKills(t *testing.T, o order) {
	o.Die = true
	cmd := o.command(t)
	err := cmd.Run()
	if err != nil && !errors.Is(err, unix.EIO) && cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("step %d: %v", o.Step, err)
	}
}
