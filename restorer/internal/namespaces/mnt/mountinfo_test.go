package mnt

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// compare wants two mountinfos, proc_pid_mountinfo(5), to tell of the same tree: for each mount its parent, root,
// attributes, groups by who else is in them, type, source, options, and which mounts have the same superblock. without
// are mount points that CRIU leaves out.
func compare(t *testing.T, before, after string, without ...string) {
	t.Helper()
	a, b := normal(before, without), normal(after, without)
	for _, line := range a {
		if !slices.Contains(b, line) {
			t.Errorf("missing:  %s", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("too much: %s", line)
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d mounts, were %d", len(b), len(a))
	}
}

// normal gives the mounts names instead of numbers: the mount points from the root on.
func normal(info string, without []string) (lines []string) {
	const id, parentID, dev, root, point, options, optional = 0, 1, 2, 3, 4, 5, 6
	names, devices, groups := map[string]string{}, map[string]string{}, map[string]string{}
	var all [][]string
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); len(f) > optional && !slices.Contains(without, f[point]) {
			all = append(all, f)
			names[f[id]] = f[point]
		}
	}
	for _, f := range all {
		name := f[point]
		if names[f[parentID]] == name { // on top of another
			name += "+"
		}
		names[f[id]] = name
	}
	first := func(of map[string]string, key, name string) string {
		if old, ok := of[key]; !ok || name < old {
			of[key] = name
		}
		return of[key]
	}
	for range 2 { // the second time knows the first of all
		lines = nil
		for _, f := range all {
			end := slices.Index(f, "-")
			name := names[f[id]]
			line := fmt.Sprintf(
				"%s in %q: %s of the superblock of %s, %s, %s",
				name,
				names[f[parentID]],
				f[root],
				first(devices, f[dev], name),
				f[options],
				strings.Join(f[end+1:], " "),
			)
			for _, group := range f[optional:end] {
				kind, number, _ := strings.Cut(group, ":")
				switch kind {
				case "shared":
					line += ", shared by " + first(groups, number, name)
				case "master":
					line += ", slave of " + groups[number]
				default:
					line += ", " + group
				}
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// The comparison finds what differs.
func TestCompare(t *testing.T) {
	const info = "1 0 0:1 / / rw - ext4 /dev/a rw\n" +
		"2 1 0:2 / /a rw shared:7 - tmpfs x rw\n3 1 0:2 / /b rw master:7 - tmpfs x rw\n"
	compare(
		t,
		info,
		strings.NewReplacer("shared:7", "shared:9", "master:7", "master:9", "0:2", "0:5").Replace(info),
	)
	for _, change := range []string{"shared:7", "master:7", "3 1 0:2", "3 1", "/b", "tmpfs x rw\n3"} {
		other := strings.Replace(
			info,
			change,
			strings.NewReplacer("7", "8", "1", "2", "/b", "/c", ":2", ":3", "x", "y").Replace(change),
			1,
		)
		if slices.Equal(normal(info, nil), normal(other, nil)) {
			t.Errorf("no difference with another %q", change)
		}
	}
}
