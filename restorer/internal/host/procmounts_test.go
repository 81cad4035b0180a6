package host

import (
	"reflect"
	"testing"

	"github.com/crpie/crpie/internal/uapi"
)

// Of mounts of proc that lie on each other the topmost counts, as after unshare --mount-proc.
func TestProcMounts(t *testing.T) {
	const mountinfo = `21 1 0:20 / / rw,relatime - ext4 /dev/vda rw
22 21 0:21 / /proc rw,relatime - proc proc rw
23 21 0:22 / /srv/a\040b/proc ro,noatime,nodiratime - proc none ro,hidepid=invisible,gid=5
24 22 0:21 /sys /proc/sys ro - proc proc rw
25 21 0:23 / /other/proc rw - proc proc rw
26 22 0:24 / /proc rw,nosuid,nodev,noexec,relatime shared:7 - proc proc rw
27 22 0:25 / /tmp rw,nosuid - tmpfs tmpfs rw
`
	const usual = uapi.MsNosuid | uapi.MsNodev | uapi.MsNoexec | uapi.MsRelatime
	want := []ProcMount{
		{Path: "/srv/a b/proc", Flags: uapi.MsRdonly | uapi.MsNoatime | uapi.MsNodiratime, Options: "hidepid=invisible,gid=5"},
		{Path: "/proc", Flags: usual},
	}
	got := procMounts(mountinfo, func(path string) bool { return path != "/other/proc" })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
