//go:build linux

package testenv

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is what /proc says about a process, one fact a key, without what may differ between two runs of the same
// process: inode numbers, times, its parent, soft-dirty bits.
type Snapshot map[string]string

// TakeSnapshot reads /proc/PID. Keys look like "fd 3 pos", "map 7f0000001000", "thread 12 SigBlk", "status CapEff".
func TakeSnapshot(pid int) (Snapshot, error) {
	s := Snapshot{}
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, part := range []func(dir string) error{
		s.maps, s.fds, s.status, s.stat, s.links, s.files, s.limits, s.threads,
	} {
		if err := part(dir); err != nil {
			return nil, fmt.Errorf("snapshot of process %d: %w", pid, err)
		}
	}
	return s, nil
}

// Diff lists in order of the keys what differs: "key: was X, is Y".
func (s Snapshot) Diff(now Snapshot) []string {
	keys := map[string]bool{}
	for k := range s {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, had := s[k]
		is, has := now[k]
		switch {
		case !has:
			lines = append(lines, fmt.Sprintf("%s: gone, was %s", k, was))
		case !had:
			lines = append(lines, fmt.Sprintf("%s: new, is %s", k, is))
		case was != is:
			lines = append(lines, fmt.Sprintf("%s: was %s, is %s", k, was, is))
		}
	}
	return lines
}

// Without returns a copy that lacks the keys matching any of the patterns of path.Match; * spans spaces, and a / in a
// key is matched by _.
func (s Snapshot) Without(patterns ...string) Snapshot {
	rest := maps.Clone(s)
	maps.DeleteFunc(rest, func(key, _ string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := filepath.Match(p, strings.ReplaceAll(key, "/", "_"))
			return ok && err == nil
		})
	})
	return rest
}

// mapLine is the first line of a mapping in smaps: start-end perms offset dev inode path; proc_pid_maps(5).
var mapLine = regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+ *(.*)$`)

// maps reads smaps, which has more than maps: flags of the mapping, without soft-dirty, and locked memory,
// proc_pid_smaps(5).
func (s Snapshot) maps(dir string) error {
	data, err := os.ReadFile(dir + "/smaps")
	if err != nil {
		return err
	}
	key := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if m := mapLine.FindStringSubmatch(line); m != nil {
			key = "map " + m[1]
			s[key] = fmt.Sprintf("-%s %s %s %s", m[2], m[3], m[4], m[5])
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			s[key] += " [" + strings.Join(withoutSoftDirty(strings.Fields(flags)), " ") + "]"
		} else if locked, ok := strings.CutPrefix(line, "Locked:"); ok && strings.TrimSpace(locked) != "0 kB" {
			s[key] += " locked " + strings.TrimSpace(locked)
		}
	}
	return nil
}

func withoutSoftDirty(flags []string) []string {
	return slices.DeleteFunc(flags, func(f string) bool { return f == "sd" })
}

// anonymous numbers pipes and sockets by their first appearance, because inode numbers are new after a restore.
type anonymous map[string]string

var inodeName = regexp.MustCompile(`^(pipe|socket):\[\d+\]$`)

// name gives descriptors of the same pipe or socket the same name, and leaves other targets as they are.
func (a anonymous) name(target string) string {
	m := inodeName.FindStringSubmatch(target)
	if m == nil {
		return target
	}
	if a[target] == "" {
		a[target] = fmt.Sprintf("%s:#%d", m[1], len(a)+1)
	}
	return a[target]
}

// fds goes through descriptors by number, so that pipes get the same names in each snapshot.
func (s Snapshot) fds(dir string) error {
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return err
	}
	names := anonymous{}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return number(a.Name()) - number(b.Name()) })
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, "fd", e.Name()))
		if err != nil {
			return err
		}
		key := "fd " + e.Name()
		s[key] = names.name(target)
		if err := s.fdinfo(key, filepath.Join(dir, "fdinfo", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func number(name string) int {
	n, err := strconv.Atoi(name)
	if err != nil {
		return -1
	}
	return n
}

// volatileFdinfo are fields of fdinfo that are numbers of the kernel's, not of the program's.
var volatileFdinfo = regexp.MustCompile(`^(mnt_id|ino|eventfd-id)$`)

var epollInode = regexp.MustCompile(` ino:\S+ sdev:\S+| +pos:\S+`)

// fdinfo reads position, flags and what the kind of file adds, proc_pid_fdinfo(5), without numbers that the kernel
// chose.
func (s Snapshot) fdinfo(key, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		field, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok || volatileFdinfo.MatchString(field):
		case field == "tfd": // of an epoll set: one line per watched descriptor, in no order
			watched, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
			s[key+" watches "+watched] = strings.Join(
				strings.Fields(epollInode.ReplaceAllString(rest, "")), " ")
		default:
			s[key+" "+field] = strings.TrimSpace(value)
		}
	}
	return nil
}

// statusFields of /proc/PID/status are the ones that a restore must bring back; proc_pid_status(5).
var statusFields = regexp.MustCompile(
	`^(Name|Umask|Tgid|Pid|TracerPid|Uid|Gid|Groups|NStgid|NSpid|NSpgid|NSsid|VmLck|` +
		`THP_enabled|Threads|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|Cpus_allowed_list)$`)

func (s Snapshot) status(dir string) error { return s.statusOf(dir, "status ", statusFields) }

// statusOf reads the fields of a status file that a pattern matches, of a process or a thread.
func (s Snapshot) statusOf(dir, prefix string, fields *regexp.Regexp) error {
	data, err := os.ReadFile(dir + "/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if field, value, _ := strings.Cut(strings.TrimSpace(line), ":"); fields.MatchString(field) {
			s[prefix+field] = strings.Join(strings.Fields(value), " ")
		}
	}
	return s.keepBlocked(prefix)
}

// keepBlocked leaves out pending signals that are not blocked: they are on their way, and a timer's may be at any
// moment.
func (s Snapshot) keepBlocked(prefix string) error {
	blocked, err := strconv.ParseUint(s[prefix+"SigBlk"], 16, 64)
	for _, field := range []string{"SigPnd", "ShdPnd"} {
		if value, ok := s[prefix+field]; ok && err == nil {
			var pending uint64
			pending, err = strconv.ParseUint(value, 16, 64)
			s[prefix+field] = fmt.Sprintf("%016x", pending&blocked)
		}
	}
	return err
}

// statFields are places in /proc/PID/stat, counted from 1; proc_pid_stat(5).
var statFields = map[int]string{
	5: "pgrp", 6: "session", 7: "tty_nr", 19: "nice", 26: "startcode", 27: "endcode", 28: "startstack",
	38: "exit_signal",
	40: "rt_priority", 41: "policy", 45: "start_data", 46: "end_data", 47: "start_brk", 48: "arg_start",
	49: "arg_end",
	50: "env_start", 51: "env_end",
}

func (s Snapshot) stat(dir string) error { return s.statOf(dir, "stat ", statFields) }

// statOf reads fields of a stat file by their places, of a process or a thread.
func (s Snapshot) statOf(dir, prefix string, fields map[int]string) error {
	data, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return err
	}
	text := string(data)
	// the name may hold spaces; words[0] is field 3
	words := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	for n, name := range fields {
		if n-3 >= len(words) {
			return fmt.Errorf("%s/stat has %d fields", dir, len(words)+2)
		}
		s[prefix+name] = words[n-3]
	}
	return nil
}

// links reads symbolic links. Those of namespaces hold inode numbers, which are equal for one namespace, namespaces(7).
func (s Snapshot) links(dir string) error {
	for _, name := range []string{
		"exe", "cwd", "root", "ns/pid", "ns/mnt", "ns/net", "ns/ipc", "ns/uts", "ns/user", "ns/time",
	} {
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		s[name] = target
	}
	return nil
}

// files are short files taken as they are; long or binary ones by their digest.
func (s Snapshot) files(dir string) error {
	for _, name := range []string{
		"cmdline", "environ", "auxv", "comm", "oom_score_adj", "personality", "coredump_filter", "timers",
		"cgroup",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		s[name] = fmt.Sprintf("%q", data)
		if len(data) > 200 {
			s[name] = fmt.Sprintf("%d bytes, sha256 %x", len(data), sha256.Sum256(data))
		}
	}
	return nil
}

// limits reads a table whose first column is 26 characters wide (fs/proc/base.c) and has spaces in it.
func (s Snapshot) limits(dir string) error {
	data, err := os.ReadFile(dir + "/limits")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if len(line) > 26 && strings.HasPrefix(line, "Max ") {
			s["limit "+strings.TrimSpace(line[4:26])] = strings.Join(strings.Fields(line[26:]), " ")
		}
	}
	return nil
}

var (
	threadStatus = regexp.MustCompile(
		`^(Name|Uid|Gid|Groups|SigPnd|SigBlk|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|` +
			`Cpus_allowed_list)$`)
	threadStat = map[int]string{19: "nice", 40: "rt_priority", 41: "policy"}
)

// threads reads what the kernel keeps for each thread: credentials, signal masks, scheduling, seccomp filters.
func (s Snapshot) threads(dir string) error {
	entries, err := os.ReadDir(dir + "/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		task, prefix := filepath.Join(dir, "task", e.Name()), "thread "+e.Name()+" "
		if err := s.statusOf(task, prefix, threadStatus); err != nil {
			return err
		}
		if err := s.statOf(task, prefix, threadStat); err != nil {
			return err
		}
	}
	return nil
}
