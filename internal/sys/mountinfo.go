package sys

import (
	"iter"
	"slices"
	"strings"
)

// Mount is a line of /proc/PID/mountinfo, proc_pid_mountinfo(5).
type Mount struct {
	Device  string // of the file system, major:minor
	Root    string // what of the file system is mounted
	Point   string // where it is
	Options string // of this mount
	Type    string // of the file system
	Source  string
	Super   string // options of the file system
}

// Mounts reads a mountinfo; what is no line of one is left out.
func Mounts(mountinfo string) iter.Seq[Mount] {
	return func(yield func(Mount) bool) {
		for line := range strings.Lines(mountinfo) {
			front, back, _ := strings.Cut(line, " - ")
			mount, kind := strings.Fields(front), strings.Fields(back)
			const least, leastBack = 6, 3
			if len(mount) < least || len(kind) < leastBack {
				continue
			}
			root, point, source := spelled(mount[3]), spelled(mount[4]), spelled(kind[1])
			if !yield(Mount{mount[2], root, point, mount[5], kind[0], source, kind[2]}) {
				return
			}
		}
	}
}

// HasSuper reports whether the file system has an option, as a hierarchy of cgroups its controllers.
func (m *Mount) HasSuper(option string) bool {
	return slices.Contains(strings.Split(m.Super, ","), option)
}

// spelled: mountinfo spells white space and backslashes as octal numbers.
func spelled(name string) string {
	if !strings.Contains(name, `\`) {
		return name
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}

// Cgroups reads /proc/PID/cgroup, cgroups(7): the path of a process's cgroup in each hierarchy, by its controllers, which
// are empty for version 2.
func Cgroups(text string) iter.Seq2[string, string] {
	return func(yield func(controllers, path string) bool) {
		for line := range strings.Lines(text) { // number:controllers:path
			fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
			if len(fields) == 3 && !yield(fields[1], fields[2]) {
				return
			}
		}
	}
}
