//go:build amd64

package host

import (
	"os"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// CgroupHierarchies reads where the hierarchies are mounted and where this process is in them, cgroups(7).
func CgroupHierarchies(own, mountinfo string) map[string]Hierarchy {
	all, mounts := map[string]Hierarchy{}, FindCgroupMounts(mountinfo)
	for controllers, path := range sys.Cgroups(own) {
		all[controllers] = Hierarchy{Mount: mounts.Of(controllers), Own: path}
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
