//go:build linux

package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Sysctl sets a file of /proc/sys until the end of the test. A shell waits for that end and puts the old value back:
// it comes to it also if the test is killed.
func Sysctl(tb testing.TB, name, value string) {
	tb.Helper()
	NeedRoot(tb)
	file := filepath.Join("/proc/sys", name)
	old, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	restore := exec.Command("/bin/sh", "-c", `read over; printf %s "$1" >"$2"`, "sh", string(old), file)
	restore.Env = append(os.Environ(), guardVariable+"="+runID) // scripts/in-namespaces waits for it
	end, err := restore.StdinPipe()                             // closed when this process is gone
	if err == nil {
		err = restore.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		end.Close()
		if err := restore.Wait(); err != nil {
			tb.Error(err)
		}
	})
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		tb.Fatal(err)
	}
}
