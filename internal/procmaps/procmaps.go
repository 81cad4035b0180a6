// Package procmaps reads the mappings of a process as the kernel lists them. It opens no file.
package procmaps

import (
	"fmt"
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
	var prot, device string
	var inode uint64
	n, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &v.Start, &v.End, &prot, &v.Pgoff, &device, &inode)
	if err != nil || n != 6 || len(prot) != 4 {
		return v, fmt.Errorf("line %q of maps is not known", line)
	}
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
	if fields := strings.SplitN(line, " ", 6); len(fields) == 6 {
		_, name, _ := strings.Cut(fields[5], " ") // a decimal inode, then blanks
		v.Name = strings.TrimLeft(name, " ")
	}
	if v.Name == "[stack]" {
		v.Flags |= uapi.MapGrowsdown
	}
	return v, nil
}
