//go:build linux && amd64

package host

import (
	"testing"
)

func TestClockOffsetsOfThisProcess(t *testing.T) {
	const text = "monotonic     86400        -5\nboottime        -3 500000000\n"
	for clock, want := range map[string]int64{"monotonic": 86400e9 - 5, "boottime": -3e9 + 5e8, "realtime": 0} {
		if got := clockOffset(text, clock); got != want {
			t.Errorf("%s: %d, want %d", clock, got, want)
		}
	}
}
