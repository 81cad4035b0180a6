//go:build linux && amd64 && faults

package inject

import (
	"errors"
	"fmt"
	"os"
	"testing"

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

// everyStep counts the steps of an attachment and tries it with each.
func everyStep(t *testing.T, victim string, try func(t *testing.T, o order)) {
	all := order{Pid: testenv.Start(t, victim).Pid, Plugin: testenv.Plugin(t, traceSource)}
	whole := all.carryOut(t)
	steps := whole.Steps
	if steps < 100 || whole.Error != "" {
		t.Fatalf("%d steps: %s", steps, whole.Error)
	}
	const chunk = 40
	for from := 1; from <= steps; from += chunk {
		p := testenv.Start(t, victim)
		for step := from; step < from+chunk && step <= steps; step++ {
			try(t, order{Pid: p.Pid, Plugin: all.Plugin, Step: step})
		}
		p.MustPass(t)
	}
}

// Each system call of an attachment fails in turn: the process goes on unharmed.
func TestEachStepFails(t *testing.T) {
	for _, victim := range []string{"avx", "threads"} {
		everyStep(t, victim, func(t *testing.T, o order) {
			got := o.carryOut(t)
			if got.Error == "" && got.Steps >= o.Step {
				t.Logf("step %d of %s may fail", o.Step, victim)
			}
			for _, p := range got.Report.Processes {
				for _, c := range p.Calls {
					if !c.Failed && c.Took == 0 {
						t.Errorf("step %d of %s: %+v was not made", o.Step, victim, c)
					}
				}
			}
		})
	}
}

// crpie is killed at each step: the process goes on unharmed.
func TestKilledAtEachStep(t *testing.T) {
	for _, victim := range []string{"avx", "threads", "static"} {
		everyStep(t, victim, func(t *testing.T, o order) {
			o.Die = true
			cmd := o.command(t)
			err := cmd.Run()
			if err != nil && !errors.Is(err, unix.EIO) && cmd.ProcessState.String() != "signal: killed" {
				t.Errorf("step %d: %v", o.Step, err)
			}
		})
	}
}
