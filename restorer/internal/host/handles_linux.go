//go:build amd64

package host

import (
	"fmt"

	"github.com/crpie/crpie/internal/sys"
)

// mountOfHandle tries the mount points of a device in turn, proc_pid_mountinfo(5): a mount may show only a part of its
// file system.
func mountOfHandle(major, minor uint32, handle []byte) string {
	device := fmt.Sprintf("%d:%d", major, minor)
	for m := range sys.Mounts(ReadProc("/proc/self/mountinfo")) {
		if m.Device == device && sys.HasHandle(m.Point, handle) {
			return m.Point
		}
	}
	return ""
}
