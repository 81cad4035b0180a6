package sys

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Memory that is allocated after Prefault is there already: to write it for the first time faults on few pages. Close
// to the end of what the runtime has mapped for its heap there is nothing to prefault, and so several tries are
// allowed.
func TestPrefault(t *testing.T) {
	const pages, page = 256, 4096
	var kept [][]byte
	defer runtime.KeepAlive(&kept)
	var faults int64
	for range 16 {
		Prefault(2 * pages * page)
		before := minorFaults(t)
		for range pages {
			b := make([]byte, page)
			b[0] = 1
			kept = append(kept, b)
		}
		if faults = minorFaults(t) - before; faults < pages/2 {
			return
		}
	}
	t.Errorf("%d page faults for %d pages", faults, pages)
}

func minorFaults(t *testing.T) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Minflt
}
