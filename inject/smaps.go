//go:build linux && amd64

package inject

import (
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
)

// smap is what /proc/PID/smaps says of a mapping besides maps, proc_pid_smaps(5).
type smap struct {
	memory.Span
	flags    []string // VmFlags
	resident uint64   // kB that are there or swapped out
}

// parseSmaps reads /proc/PID/smaps.
func parseSmaps(text string) (all []smap) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "Rss", "Swap":
			if n := len(all); n > 0 {
				kB, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
				all[n-1].resident += kB
			}
		case "VmFlags":
			if n := len(all); n > 0 {
				all[n-1].flags = strings.Fields(value)
			}
		default:
			if !strings.Contains(key, " ") { // only the first line of a mapping has one before a colon
				continue
			}
			if v, err := procmaps.ParseLine(strings.TrimSuffix(line, "\n")); err == nil {
				all = append(all, smap{Span: memory.Span{Start: v.Start, End: v.End}})
			}
		}
	}
	return all
}

// has reports whether the mapping has one of some flags.
func (s *smap) has(flags ...string) bool {
	return slices.ContainsFunc(s.flags, func(flag string) bool { return slices.Contains(flags, flag) })
}
