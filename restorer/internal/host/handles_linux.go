//go:build amd64

package host

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// mountOfHandle tries the mount points of a device in turn, proc_pid_mountinfo(5): a mount may show only a part of its
// file system.
func mountOfHandle(major, minor uint32, handle []byte) string {
	device := fmt.Sprintf("%d:%d", major, minor)
	for line := range strings.Lines(ReadProc("/proc/self/mountinfo")) {
		const deviceField, pointField = 2, 4
		fields := strings.Fields(line)
		if len(fields) > pointField && fields[deviceField] == device &&
			sys.HasHandle(unescapeMount(fields[pointField]),
				handle) {
			return unescapeMount(fields[pointField])
		}
	}
	return ""
}
