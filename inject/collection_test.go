package inject

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// The collector is off until the last of several sessions is over, and then as it was.
func TestWithoutCollection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	first, second := withoutCollection(), withoutCollection()
	first()
	first()
	if collects() {
		t.Error("it collects while a session is open")
	}
	second()
	if percent := debug.SetGCPercent(77); percent != 77 {
		t.Errorf("GOGC is %d afterwards", percent)
	}
}

// collects makes garbage, and reports whether it is collected.
func collects() bool {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 {
		garbage = make([]byte, 1<<20)
	}
	runtime.ReadMemStats(&after)
	return after.NumGC != before.NumGC
}

var garbage []byte
