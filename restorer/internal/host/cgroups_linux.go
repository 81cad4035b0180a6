//go:build amd64

package host

import (
	"os"
	"strings"
)

// CgroupHierarchies reads where the hierarchies are mounted and where this process is in them, cgroups(7).
func CgroupHierarchies(own, mountinfo string) map[string]Hierarchy {
	all, mounts := map[string]Hierarchy{}, FindCgroupMounts(mountinfo)
	for line := range strings.Lines(own) { // number:controllers:path
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 {
			all[parts[1]] = Hierarchy{Mount: mounts.Of(parts[1]), Own: parts[2]}
		}
	}
	return all
}

func cgroupFile(name string) string {
	return strings.TrimSpace(ReadProc(name))
}

func cgroupExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
