package procmaps

import (
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/memory"
)

// Smap is what /proc/PID/smaps says of a mapping besides maps, proc_pid_smaps(5).
type Smap struct {
	memory.Span
	Flags    []string // VmFlags
	Resident uint64   // kB that are there or swapped out
}

// Smaps reads /proc/PID/smaps.
func Smaps(text string) (all []Smap) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "Rss", "Swap":
			if n := len(all); n > 0 {
				kB, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
				all[n-1].Resident += kB
			}
		case "VmFlags":
			if n := len(all); n > 0 {
				all[n-1].Flags = strings.Fields(value)
			}
		default:
			if !strings.Contains(key, " ") { // only the first line of a mapping has one before a colon
				continue
			}
			if v, err := ParseLine(strings.TrimSuffix(line, "\n")); err == nil {
				all = append(all, Smap{Span: memory.Span{Start: v.Start, End: v.End}})
			}
		}
	}
	return all
}

// Has reports whether the mapping has one of some flags.
func (s *Smap) Has(flags ...string) bool {
	return slices.ContainsFunc(s.Flags, func(flag string) bool { return slices.Contains(flags, flag) })
}
