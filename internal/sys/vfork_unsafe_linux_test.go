//go:build amd64

package sys

import (
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is born for a program borrows this one's memory, on a stack of its own, and gives it back when it
// executes that or has ended.
func TestBornInBorrowedMemory(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	streams := []uintptr{null.Fd(), null.Fd(), null.Fd(), closed}
	for path, want := range map[string]int{"/no/such/program": notExecuted, self: 0} {
		e, err := newExecution(path, []string{"test", "-test.run=^$"}, slices.Clone(streams))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			copy(e.fds, streams)
			pid, errno := e.clone(&cloneArgs{flags: borrow, exitSignal: uint64(unix.SIGCHLD)})
			if errno != 0 {
				t.Fatal(errno)
			}
			if e.fds[0] == streams[0] {
				t.Fatalf("%s: what it wrote is not here", path)
			}
			ws, err := Wait(pid)
			if err != nil || !ws.Exited() || ws.ExitStatus() != want {
				t.Fatalf("%s: %v, wait status %#x, want status %d", path, err, uint32(ws), want)
			}
		}
	}
}
