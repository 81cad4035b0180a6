//go:build linux && amd64

package doctor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// commands looks at the runtimes that people start, in whose PATH they look for criu.
func (r *round) commands() {
	path := r.Front.Getenv("PATH")
	found := 0
	for _, name := range []string{"runc", "crun", "podman"} {
		program := inPath(path, name)
		if program == "" {
			continue
		}
		found++
		said, err := r.output(program, "--version")
		if err != nil {
			r.add(name, Problem, "", "%s --version: %s", program, failure(said, err))
			continue
		}
		if name == "crun" && !r.libcriu(program, said) {
			continue
		}
		r.starts(name, firstLine(said)+", "+program, inPath(path, "criu"),
			"start it with PATH="+filepath.Dir(r.front)+":$PATH")
	}
	if found == 0 {
		r.add("runtimes", Note, "", "no runc, crun or podman in PATH")
	}
}

// inPath finds a program as execvp(3) does.
func inPath(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		program := filepath.Join(dir, name)
		if k := kindOf(program); filepath.IsAbs(program) && k != missing && k != noProgram {
			return program
		}
	}
	return ""
}

// starts judges the criu that a runtime would start.
func (r *round) starts(name, what, criu, hint string) {
	if criu == "" {
		r.add(name, Problem, hint, "%s: finds no criu in PATH", what)
		return
	}
	switch kind := kindOf(criu); kind {
	case thisCRPIE:
		r.fine(name, "%s: starts crpie, %s", what, criu)
	case anotherCRPIE:
		r.add(name, Note, "", "%s: starts another build of crpie, %s", what, criu)
	case script:
		r.add(name, Note, "", "%s: starts %s, a script, which may lead to crpie", what, criu)
	default:
		r.add(name, Problem, hint, "%s: starts %s, which is %s", what, criu, kind)
	}
}

// libcriu looks for the library by which crun starts criu. A crun that was built without it cannot restore.
func (r *round) libcriu(program, version string) bool {
	if !strings.Contains(version, "+CRIU") {
		r.add("crun", Problem, "use a crun that was built with libcriu, or runc",
			"%s: built without CRIU, it cannot restore", firstLine(version)+", "+program)
		return false
	}
	cache, _ := r.output("/sbin/ldconfig", "-p")
	if strings.Contains(cache, "libcriu.so.2 ") {
		return true
	}
	r.add("crun", Problem, "apt-get install libcriu2, dnf install criu-libs",
		"%s: libcriu.so.2 is not there, so it cannot restore", firstLine(version)+", "+program)
	return false
}

// service is a runtime that runs by itself.
type service struct{ name, comm, unit string }

func services() []service {
	return []service{{"CRI-O", "crio", "crio"}, {"containerd", "containerd", "containerd"}}
}

// services looks at the runtimes that run by themselves, each with a PATH of its own.
func (r *round) services() {
	for _, s := range services() {
		running := processes(s.comm)
		for _, pid := range running {
			path, err := ownPath(pid)
			r.service(s, "pid "+strconv.Itoa(pid), path, err)
		}
		if len(running) > 0 {
			continue
		}
		if path, ok := r.unitPath(s.unit); ok {
			r.service(s, s.unit+".service, not running", path, nil)
		}
	}
}

// service judges one whose PATH is known, or not: err.
func (r *round) service(s service, what, path string, err error) {
	criu := inPath(path, "criu")
	hint := fmt.Sprintf(
		"systemctl edit %s, and write [Service] and Environment=PATH=%s:%s; systemctl restart %s",
		s.unit,
		filepath.Dir(r.front),
		cmp.Or(path, servicePath),
		s.unit,
	)
	if s.comm == "containerd" {
		if named := containerdCRIU(read("/etc/containerd/config.toml")); named != "" {
			criu, hint, err = named, "leave CriuPath out of /etc/containerd/config.toml, or name crpie there", nil
		}
	}
	if err != nil {
		r.add(s.name, Note, "run crpie doctor as root", "%s: which criu it finds cannot be told: %v", what, err)
		return
	}
	r.starts(s.name, what, criu, hint)
}

// processes finds those with a name, proc_pid_comm(5).
func processes(comm string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && strings.TrimSpace(read("/proc/"+e.Name()+"/comm")) == comm {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ownPath reads the PATH that a process was started with, proc_pid_environ(5).
func ownPath(pid int) (string, error) {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return "", err
	}
	for v := range strings.SplitSeq(string(environ), "\x00") {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			return path, nil
		}
	}
	return "", nil
}

// servicePath is the PATH of a unit that sets none, systemd.exec(5).
const servicePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// unitPath asks systemd for the PATH of a unit; ok: there is such a unit.
func (r *round) unitPath(unit string) (path string, ok bool) {
	systemctl := inPath(r.Front.Getenv("PATH"), "systemctl")
	if systemctl == "" {
		return "", false
	}
	said, err := r.output(systemctl, "show", "--property=LoadState,Environment", unit+".service")
	if err != nil || !strings.Contains(said, "LoadState=loaded") {
		return "", false
	}
	path = servicePath
	for line := range strings.Lines(said) {
		values, is := strings.CutPrefix(strings.TrimSpace(line), "Environment=")
		for word := range strings.FieldsSeq(values) {
			if value, of := strings.CutPrefix(word, "PATH="); is && of {
				path = value
			}
		}
	}
	return path, true
}

// containerdCRIU is the criu that containerd's configuration names for runc, whatever its PATH.
func containerdCRIU(config string) string {
	for line := range strings.Lines(config) {
		key, value, _ := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); key != "CriuPath" && key != "criu_path" {
			continue
		}
		words := strings.FieldsFunc(value, func(r rune) bool { return r == '"' || r == '\'' })
		if len(words) > 1 && strings.TrimSpace(words[0]) == "" { // TOML: quotes around it
			return words[1]
		}
	}
	return ""
}
