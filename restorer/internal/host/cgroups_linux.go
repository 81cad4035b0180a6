//go:build amd64

package host

import (
	"os"
	"slices"
	"strings"
)

// CgroupHierarchies reads where the hierarchies are mounted and where this process is in them, cgroups(7).
func CgroupHierarchies(own, mountinfo string) map[string]Hierarchy {
	all, mounts := map[string]Hierarchy{}, cgroupMounts(mountinfo)
	for line := range strings.Lines(own) { // number:controllers:path
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 {
			all[parts[1]] = Hierarchy{Mount: mounts.of(parts[1]), Own: parts[2]}
		}
	}
	return all
}

// mounted are the mounts of whole hierarchies, in the order of proc_pid_mountinfo(5).
type mounted []struct {
	kind, point string
	options     []string
}

func cgroupMounts(mountinfo string) (all mounted) {
	for line := range strings.Lines(mountinfo) {
		front, back, _ := strings.Cut(line, " - ")
		if !strings.HasPrefix(back, "cgroup") {
			continue
		}
		mount, kind := strings.Fields(front), strings.Fields(back)
		if len(mount) >= 5 && len(kind) >= 3 && mount[3] == "/" {
			all = append(all, mounted{{kind[0], unescapeMount(mount[4]), strings.Split(kind[2], ",")}}...)
		}
	}
	return all
}

// of finds where the hierarchy of these controllers is mounted, "" if it is nowhere.
func (all mounted) of(controllers string) string {
	for _, m := range all {
		if m.kind == "cgroup2" && controllers == "" ||
			m.kind == "cgroup" && controllers != "" &&
				!slices.ContainsFunc(strings.Split(controllers, ","),
					func(c string) bool { return !slices.Contains(m.options, c) }) {
			return m.point
		}
	}
	return ""
}

func cgroupFile(name string) string {
	return strings.TrimSpace(ReadProc(name))
}

// unescapeMount: mountinfo spells white space and backslashes as octal numbers.
func unescapeMount(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}

func cgroupExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
