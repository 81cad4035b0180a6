//go:build linux

package testenv

import (
	"os"
	"strings"
	"testing"
)

// allowPing lets root's group have ICMP datagram sockets until the end of the test, icmp(7).
func allowPing(tb testing.TB) {
	tb.Helper()
	NeedRoot(tb)
	const groups = "/proc/sys/net/ipv4/ping_group_range"
	before, err := os.ReadFile(groups)
	if err != nil {
		tb.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(groups, []byte(text), 0); err != nil {
			tb.Error(err)
		}
	}
	write("0 0")
	tb.Cleanup(func() { write(strings.TrimSpace(string(before))) })
}
