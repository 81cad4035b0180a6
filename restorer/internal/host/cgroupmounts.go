package host

import (
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sys"
)

// CgroupMounts are the mounts of whole hierarchies, in the order of proc_pid_mountinfo(5).
type CgroupMounts []cgroupMount

type cgroupMount struct {
	kind, point string
	options     []string
}

// FindCgroupMounts finds hierarchies that are mounted whole, proc_pid_mountinfo(5): a bind mount of a part cannot show
// every cgroup.
func FindCgroupMounts(mountinfo string) (all CgroupMounts) {
	for m := range sys.Mounts(mountinfo) {
		if strings.HasPrefix(m.Type, "cgroup") && m.Root == "/" {
			all = append(all, cgroupMount{m.Type, m.Point, strings.Split(m.Super, ",")})
		}
	}
	return all
}

// Of finds where the hierarchy of these controllers is mounted, "" if it is nowhere. Version 2 has no controllers here.
func (all CgroupMounts) Of(controllers string) string {
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

// RootSource finds what a mountinfo has mounted at /: the topmost, which comes last. "" says that nothing is.
func RootSource(mountinfo string) (source string) {
	for m := range sys.Mounts(mountinfo) {
		if m.Point == "/" {
			source = m.Source
		}
	}
	return source
}
