// Package procmaps reads the mappings of a process as the kernel lists them. It opens no file.
package procmaps

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// Parse reads /proc/PID/maps, proc_pid_maps(5).
func Parse(text string) (all []taskview.VMA, err error) {
	for line := range strings.Lines(text) {
		v, err := ParseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// ParseLine reads a line of /proc/PID/maps, proc_pid_maps(5). What CRIU would find in the kernel elsewhere
// (MAP_LOCKED and the like) is not in it.
func ParseLine(line string) (v taskview.VMA, err error) {
	const isRange, isProt, isOffset, isInode, isName, most = 0, 1, 2, 4, 5, 6
	fields := strings.SplitN(line, " ", most)
	if len(fields) <= isInode || len(fields[isProt]) != 4 {
		return v, fmt.Errorf("line %q of maps is not known", line)
	}
	start, end, _ := strings.Cut(fields[isRange], "-")
	inode := uint64(0)
	for _, n := range []struct {
		to   *uint64
		text string
		base int
	}{{&v.Start, start, 16}, {&v.End, end, 16}, {&v.Pgoff, fields[isOffset], 16}, {&inode, fields[isInode], 10}} {
		if *n.to, err = strconv.ParseUint(n.text, n.base, 64); err != nil {
			return v, fmt.Errorf("line %q of maps is not known", line)
		}
	}
	prot := fields[isProt]
	for i, bit := range []uint32{uapi.ProtRead, uapi.ProtWrite, uapi.ProtExec} {
		if prot[i] != '-' {
			v.Prot |= bit
		}
	}
	v.Flags = uapi.MapPrivate
	if prot[3] == 's' {
		v.Flags = uapi.MapShared
	}
	if inode == 0 {
		v.Flags |= uapi.MapAnonymous
	}
	if len(fields) > isName {
		v.Name = strings.TrimLeft(fields[isName], " ")
	}
	if v.Name == "[stack]" {
		v.Flags |= uapi.MapGrowsdown
	}
	return v, nil
}

// Fields reads the lines "key: value" of a file such as /proc/PID/status or fdinfo.
func Fields(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(line, ":"); found {
			all[key] = strings.TrimSpace(value)
		}
	}
	return all
}
