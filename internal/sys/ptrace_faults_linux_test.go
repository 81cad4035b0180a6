//go:build faults

package sys

import (
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// Results of ptrace(2) arrive also when the goroutine's stack moves on the way into the kernel.
func TestStackMoves(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	tid := PID(cmd.Process.Pid)
	if err := Seize(tid, OptExitKill); err != nil {
		t.Fatal(err)
	}
	if err := Interrupt(tid); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := WaitUntil(tid, time.Now().Add(time.Minute)); !changed {
		t.Fatal("it does not stop", err)
	}
	depth := 0
	defer Faults(func(string) error {
		depth = grow(256)
		return nil
	})()
	regs, err := GetRegs(tid)
	if err != nil || regs.Sp == 0 || depth != 256 {
		t.Errorf("%+v, %v", regs, err)
	}
}

// grow uses a KiB of stack for each step.
func grow(steps int) int {
	var room [1024]byte
	if steps == 0 {
		return int(room[0])
	}
	return grow(steps-1) + 1 + int(room[steps%len(room)])
}
