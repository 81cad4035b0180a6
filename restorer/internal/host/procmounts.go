package host

import (
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
)

// procMounts finds mounts of proc in a mountinfo, proc_pid_mountinfo(5), as far as shows says that they show a pid
// namespace. A bind mount of a part shows none. Of those at one path the topmost counts, which comes last.
func procMounts(mountinfo string, shows func(path string) bool) (all []ProcMount) {
	for m := range sys.Mounts(mountinfo) {
		if m.Type == "proc" && m.Root == "/" && shows(m.Point) {
			all = slices.DeleteFunc(all, func(below ProcMount) bool { return below.Path == m.Point })
			all = append(all, procMount(&m))
		}
	}
	return all
}

// procMount gives what makes another mount of proc like one.
func procMount(m *sys.Mount) ProcMount {
	flags := uint64(0)
	for option := range strings.SplitSeq(m.Options, ",") {
		flags |= mountFlag(option)
	}
	options := slices.DeleteFunc(strings.Split(m.Super, ","), func(o string) bool { return o == "rw" || o == "ro" })
	return ProcMount{Path: m.Point, Flags: flags, Options: strings.Join(options, ",")}
}

// mountFlag gives what an option of a mount is in mount(2); 0 if none.
func mountFlag(option string) uint64 {
	switch option {
	case "ro":
		return uapi.MsRdonly
	case "nosuid":
		return uapi.MsNosuid
	case "nodev":
		return uapi.MsNodev
	case "noexec":
		return uapi.MsNoexec
	case "noatime":
		return uapi.MsNoatime
	case "nodiratime":
		return uapi.MsNodiratime
	case "relatime":
		return uapi.MsRelatime
	}
	return 0
}
