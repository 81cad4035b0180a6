package host

import (
	"slices"
	"strings"
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
	for line := range strings.Lines(mountinfo) {
		front, back, _ := strings.Cut(line, " - ")
		if !strings.HasPrefix(back, "cgroup") {
			continue
		}
		mount, kind := strings.Fields(front), strings.Fields(back)
		if len(mount) >= 5 && len(kind) >= 3 && mount[3] == "/" {
			all = append(all, cgroupMount{kind[0], unescapeMount(mount[4]), strings.Split(kind[2], ",")})
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
	for line := range strings.Lines(mountinfo) {
		front, back, _ := strings.Cut(line, " - ")
		mount, kind := strings.Fields(front), strings.Fields(back)
		if len(mount) >= 5 && len(kind) >= 2 && mount[4] == "/" {
			source = unescapeMount(kind[1])
		}
	}
	return source
}

// unescapeMount: mountinfo spells white space and backslashes as octal numbers.
func unescapeMount(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}
