package host

import (
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/uapi"
)

// procMounts finds mounts of proc in a mountinfo, proc_pid_mountinfo(5), as far as shows says that they show a pid
// namespace. A bind mount of a part shows none.
func procMounts(mountinfo string, shows func(path string) bool) (all []ProcMount) {
	for line := range strings.Lines(mountinfo) {
		m, root, ok := procMount(line)
		known := slices.ContainsFunc(all, func(other ProcMount) bool { return other.Path == m.Path })
		if ok && root == "/" && !known && shows(m.Path) {
			all = append(all, m)
		}
	}
	return all
}

// procMount reads a line about a mount of proc.
func procMount(line string) (m ProcMount, root string, ok bool) {
	const isRoot, isPath, isOptions = 3, 4, 5
	about, super, _ := strings.Cut(line, " - ")
	fields, its := strings.Fields(about), strings.Fields(super)
	if len(fields) <= isOptions || len(its) < 3 || its[0] != "proc" {
		return m, "", false
	}
	m.Path = unescapeMount(fields[isPath])
	for option := range strings.SplitSeq(fields[isOptions], ",") {
		m.Flags |= mountFlag(option)
	}
	var options []string
	for option := range strings.SplitSeq(its[2], ",") {
		if option != "rw" && option != "ro" {
			options = append(options, option)
		}
	}
	m.Options = strings.Join(options, ",")
	return m, fields[isRoot], true
}

// mountFlag gives what an option of a mount is in mount(2); 0 if none.
func mountFlag(option string) uint64 {
	return map[string]uint64{
		"ro": uapi.MsRdonly, "nosuid": uapi.MsNosuid, "nodev": uapi.MsNodev, "noexec": uapi.MsNoexec,
		"noatime": uapi.MsNoatime, "nodiratime": uapi.MsNodiratime, "relatime": uapi.MsRelatime,
	}[option]
}
