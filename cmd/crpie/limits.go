package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/graft"
)

// archiveLimits is the flag that raises, or lowers, what an archive may cost.
type archiveLimits struct{ graft.Limits }

func (a *archiveLimits) register(f *pflag.FlagSet) {
	d := graft.DefaultLimits
	f.Var(a, "archive-limit", fmt.Sprintf(
		"Let an archive cost `NAME=N`: size=N bytes unpacked (%dG), entries=N (%d), headers=N bytes of their headers (%dM); "+
			"N may end in K, M, G or T.", d.Size>>30, d.Entries, d.Headers>>20))
}

func (a *archiveLimits) String() string { return "" }
func (a *archiveLimits) Type() string   { return "limit" }

// Set takes one NAME=N.
func (a *archiveLimits) Set(s string) error {
	name, value, _ := strings.Cut(s, "=")
	n, ok := parseSize(value)
	switch {
	case !ok || n == 0:
		return fmt.Errorf("%q is not NAME=N with a number above 0", s)
	case name == "size":
		a.Size = n
	case name == "headers":
		a.Headers = n
	case name == "entries":
		a.Entries = int(min(n, math.MaxInt32))
	default:
		return fmt.Errorf("%q: there are size, entries and headers", name)
	}
	return nil
}

// parseSize reads a number that may end in a binary unit.
func parseSize(s string) (int64, bool) {
	shift := 0
	if i := strings.IndexByte("KMGT", (s + " ")[max(0, len(s)-1)]); i >= 0 {
		shift, s = 10*(i+1), s[:len(s)-1]
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n << shift), err == nil && n <= math.MaxInt64>>shift
}
