package host

import (
	"slices"
	"strings"
)

// CgroupMount finds where a mountinfo has the hierarchy of some controllers mounted from its root, "" if it is nowhere.
// Version 2 has no controllers here.
func CgroupMount(mountinfo, controllers string) string {
	return cgroupMounts(mountinfo).of(controllers)
}

// mounted are the mounts of whole hierarchies, in the order of proc_pid_mountinfo(5).
type mounted []struct {
	kind, point string
	options     []string
}

// cgroupMounts finds hierarchies that are mounted whole, proc_pid_mountinfo(5): a bind mount of a part cannot show
// every cgroup.
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
