package taskview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/uapi"
)

// ParseMaps reads /proc/PID/maps, proc_pid_maps(5).
func ParseMaps(text string) (all []VMA, err error) {
	for line := range strings.Lines(text) {
		v, err := ParseMapping(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// ParseMapping reads a line of /proc/PID/maps, proc_pid_maps(5). What CRIU would find in the kernel elsewhere
// (MAP_LOCKED and the like) is not in it.
func ParseMapping(line string) (v VMA, err error) {
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

// At finds the mapping that an address is in, nil if there is none; mappings are in the order of addresses.
func At(vmas []VMA, addr uint64) *VMA {
	i, found := slices.BinarySearchFunc(vmas, addr, func(v VMA, addr uint64) int {
		switch {
		case v.End <= addr:
			return -1
		case v.Start > addr:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &vmas[i]
}
