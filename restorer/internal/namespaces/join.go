package namespaces

import (
	"strconv"

	"github.com/crpie/crpie/internal/uapi"
)

// joinable are the kinds of namespaces that are entered as they are, by their names in /proc/PID/ns, namespaces(7).
var joinable = map[string]uint64{"uts": uapi.CloneNewuts, "ipc": uapi.CloneNewipc, "time": uapi.CloneNewtime}

// joins finds the files of namespaces, which are given by a pid or a path.
func joins(places map[string]string) map[uint64]string {
	paths := map[uint64]string{}
	for kind, place := range places {
		flag := joinable[kind]
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
