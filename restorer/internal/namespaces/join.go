package namespaces

import (
	"strconv"

	"github.com/crpie/crpie/internal/uapi"
)

// joinable returns the flag of a kind of namespaces that are entered as they are, named as in /proc/PID/ns,
// namespaces(7); 0 of other kinds.
func joinable(kind string) uint64 {
	switch kind {
	case "uts":
		return uapi.CloneNewuts
	case "ipc":
		return uapi.CloneNewipc
	case "time":
		return uapi.CloneNewtime
	}
	return 0
}

// joins finds the files of namespaces, which are given by a pid or a path.
func joins(places map[string]string) map[uint64]string {
	paths := map[uint64]string{}
	for kind, place := range places {
		flag := joinable(kind)
		if flag == 0 { // of networks
			continue
		}
		paths[flag] = place
		if _, err := strconv.ParseUint(place, 10, 31); err == nil {
			paths[flag] = "/proc/" + place + "/ns/" + kind
		}
	}
	return paths
}

// Joins reports whether the tasks enter a namespace that is there already, whatever they were in.
func (p *Plan) Joins(flag uint64) bool { return p != nil && p.joins[flag] != "" }
