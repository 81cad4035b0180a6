package freezer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// hierarchy is one that has a freezer.
type hierarchy struct {
	controller string // in /proc/PID/cgroup: "freezer", of version 2 ""
	root       string // the cgroup that is mounted
	at         string
}

// Of finds the lowest cgroup that has all of some processes and can be frozen. Where both versions are mounted it is
// one of version 1, as for CRIU.
func Of(pids ...int) (Cgroup, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for _, h := range hierarchies(string(text)) {
		if c, ok := h.common(pids); ok && c.Freezable() {
			return c, nil
		}
	}
	return "", fmt.Errorf("process %d has no cgroup that can be frozen: it, or a descendant, is in the root of the "+
		"hierarchy, or none is mounted", pids[0])
}

// hierarchies reads proc_pid_mountinfo(5): those of version 1 first.
func hierarchies(mountinfo string) []hierarchy {
	var v1, v2 []hierarchy
	for m := range sys.Mounts(mountinfo) {
		switch {
		case outside(m.Root):
		case m.Type == "cgroup2":
			v2 = append(v2, hierarchy{"", m.Root, m.Point})
		case m.Type == "cgroup" && m.HasSuper("freezer"):
			v1 = append(v1, hierarchy{"freezer", m.Root, m.Point})
		}
	}
	return append(v1, v2...)
}

// common finds the lowest cgroup that has all of some processes.
func (h *hierarchy) common(pids []int) (Cgroup, bool) {
	lowest := ""
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			continue // it has ended
		}
		own, ok := h.pathIn(string(text))
		if !ok {
			return "", false
		}
		if lowest == "" {
			lowest = own
		}
		lowest = parent(lowest, own)
	}
	below, err := filepath.Rel(h.root, lowest)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return "", false // not below what is mounted
	}
	return Cgroup(filepath.Join(h.at, below)), true
}

// pathIn finds a process's cgroup in the text of /proc/PID/cgroup, cgroups(7): ID:CONTROLLERS:PATH.
func (h *hierarchy) pathIn(text string) (string, bool) {
	for controllers, path := range sys.Cgroups(text) {
		if slices.Contains(strings.Split(controllers, ","), h.controller) {
			return path, strings.HasPrefix(path, "/") && !outside(path)
		}
	}
	return "", false
}

// outside reports whether a path leads out of this process's cgroup namespace, cgroup_namespaces(7): from there it
// names no cgroup that is seen here.
func outside(path string) bool { return strings.HasPrefix(path+"/", "/../") }

// parent gives the lowest path that is the same as both or above them.
func parent(a, b string) string {
	for !strings.HasPrefix(b+"/", strings.TrimSuffix(a, "/")+"/") {
		a = filepath.Dir(a)
	}
	return a
}
