//go:build amd64

package host

import (
	"os"
	"slices"
	"strings"
)

// CgroupHierarchies reads where the hierarchies are mounted and where this process is in them, cgroups(7).
func CgroupHierarchies(own, mountinfo string) map[string]Hierarchy {
	all := map[string]Hierarchy{}
	for line := range strings.Lines(own) { // number:controllers:path
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 {
			all[parts[1]] = Hierarchy{Mount: cgroupMount(mountinfo, parts[1]), Own: parts[2]}
		}
	}
	return all
}

// cgroupMount finds the mount point of the whole of a hierarchy, proc_pid_mountinfo(5).
func cgroupMount(mountinfo, controllers string) string {
	for line := range strings.Lines(mountinfo) {
		front, back, _ := strings.Cut(line, " - ")
		mount, kind := strings.Fields(front), strings.Fields(back)
		if len(mount) < 5 || len(kind) < 3 || mount[3] != "/" {
			continue
		}
		options := strings.Split(kind[2], ",")
		has := func(controller string) bool { return slices.Contains(options, controller) }
		if kind[0] == "cgroup2" && controllers == "" ||
			kind[0] == "cgroup" && controllers != "" &&
				!slices.ContainsFunc(strings.Split(controllers, ","),
					func(c string) bool { return !has(c) }) {
			return unescapeMount(mount[4])
		}
	}
	return ""
}

func cgroupFile(name string) string {
	text, _ := os.ReadFile(name)
	return strings.TrimSpace(string(text))
}

// unescapeMount: mountinfo spells white space and backslashes as octal numbers.
func unescapeMount(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}
