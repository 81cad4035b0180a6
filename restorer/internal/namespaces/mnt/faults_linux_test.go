//go:build faults

package mnt

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// Every system call fails in turn: the error says so, and neither the host's mounts nor this process's descriptors are
// others than before.
func TestEveryCallFails(t *testing.T) {
	d, before := unshared(t, everything), hostMounts(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close what is forgotten
	for n := 0; ; n++ {
		p, calls, failed, open := planned(t, d, &Options{}), 0, "", descriptors(t)
		aside, err := sys.NewAside()
		if err != nil {
			t.Fatal(err)
		}
		remove := sys.Faults(func(call string) error {
			if calls++; calls-1 == n {
				failed = call
				return unix.EIO
			}
			return nil
		})
		err = aside.Do(making(p))
		remove()
		p.Close()
		aside.End()
		if failed == "" {
			if err != nil || n < 100 {
				t.Fatalf("after %d faults without one: %v", n, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), unix.EIO.Error()) {
			t.Errorf("call %d, %s: error %v, want EIO", n, failed, err)
		}
		if after := hostMounts(t); after != before {
			t.Fatalf("call %d, %s: the host's mounts were\n%s\nand are\n%s", n, failed, before, after)
		}
		if left := descriptors(t); left != open {
			t.Fatalf("call %d, %s: %d descriptors, were %d", n, failed, left, open)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
