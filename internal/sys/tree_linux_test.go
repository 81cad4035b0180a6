package sys

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// A kernel without lists of children has the same children.
func TestChildrenByParent(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	self := PID(os.Getpid())
	if got, want := childrenByParent(self), Children(self); !slices.Contains(got, PID(child.Process.Pid)) ||
		len(got) != len(want) {
		t.Errorf("%v, by the kernel's lists %v", got, want)
	}
	if got := parent(Nobody); got != Nobody {
		t.Errorf("nobody's parent is %d", got)
	}
}

// Who waits long looks rarely, but not much later than the state changes.
func TestPausesGrow(t *testing.T) {
	waited := time.Duration(0)
	for pauses := range 10000 {
		pause := pauseAfter(pauses)
		if pause < shortPause || pause > longPause || pause > shortPause+waited/16 {
			t.Fatalf("pause %d, after %v, is %v", pauses, waited, pause)
		}
		waited += pause
	}
	if waited < 10*time.Second {
		t.Errorf("10000 looks in %v", waited)
	}
}
