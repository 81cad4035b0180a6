//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/doctor"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/testenv"
)

// node is a machine with an /etc, a /usr/local, and runtimes' state of its own; all else is this one's.
type node struct {
	t    *testing.T
	root string
	path string // its PATH
}

const localPath = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newNode makes a machine on which crpie is installed in /usr/local, and nothing is configured.
func newNode(t *testing.T) *node {
	t.Helper()
	testenv.NeedRoot(t)
	n := &node{t: t, root: t.TempDir(), path: "/usr/local/lib/crpie:" + localPath}
	for _, dir := range []string{"etc", "local/bin", "local/lib/crpie", "var/tmp", "run"} {
		must(t, os.MkdirAll(filepath.Join(n.root, dir), 0o755))
	}
	data, err := os.ReadFile("/etc/ld.so.cache")
	must(t, err)
	n.write("etc/ld.so.cache", string(data))
	n.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	data, err = os.ReadFile(executable(t))
	must(t, err)
	n.program("local/bin/crpie", string(data))
	must(t, os.Symlink("../../bin/crpie", filepath.Join(n.root, "local/lib/crpie/criu")))
	return n
}

func (n *node) write(name, text string) {
	n.t.Helper()
	name = filepath.Join(n.root, name)
	must(n.t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(n.t, os.WriteFile(name, []byte(text), 0o644))
}

func (n *node) program(name, text string) {
	n.t.Helper()
	n.write(name, text)
	must(n.t, os.Chmod(filepath.Join(n.root, name), 0o755))
}

// inside gives the command that starts a program in the node, in a mount namespace that ends with it. Folders that the
// node lacks are this machine's.
func (n *node) inside(words ...string) *exec.Cmd {
	n.t.Helper()
	entries, err := os.ReadDir("/")
	must(n.t, err)
	script := "set -e\nmount --bind '" + n.root + "' '" + n.root + "'\ncd '" + n.root + "'\n"
	for _, e := range entries {
		own := filepath.Join(n.root, e.Name())
		if _, err := os.Lstat(own); err == nil && e.Name() != "usr" {
			if e.Type()&os.ModeSymlink != 0 || !slices.Contains([]string{"etc", "var", "run"}, e.Name()) {
				script += bind(e)
			}
			continue
		}
		if e.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink("/" + e.Name())
			must(n.t, err)
			must(n.t, os.Symlink(target, own))
		} else if e.IsDir() {
			must(n.t, os.MkdirAll(own, 0o755))
			script += bind(e)
		}
	}
	script += "[ ! -d /usr/local/go ] || { mkdir -p local/go && mount --rbind /usr/local/go local/go; }\n"
	script += "mount --rbind local usr/local\nmkdir -p old\npivot_root . old\numount -l old\nPATH=$1\nshift\nexec \"$@\"\n"
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", n.path}, words...)...)
	cmd.Env = []string{asTool + "=1", "PATH=" + localPath}
	return cmd
}

func bind(e os.DirEntry) string {
	if !e.IsDir() {
		return ""
	}
	return fmt.Sprintf("mount --rbind '/%s' '%[1]s'\n", e.Name())
}

// examined runs crpie doctor in the node.
func (n *node) examined(args ...string) (status int, out string) {
	n.t.Helper()
	cmd := n.inside(append([]string{"/usr/local/bin/crpie", "doctor"}, args...)...)
	var text, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &complaints
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		n.t.Fatal(err)
	}
	if complaints.Len() > 0 {
		n.t.Errorf("it complains: %s", &complaints)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// wants runs crpie doctor and looks for parts of its report.
func (n *node) wants(status int, parts ...string) {
	n.t.Helper()
	got, out := n.examined()
	for _, part := range parts {
		if !strings.Contains(out, part) {
			n.t.Errorf("no %q", part)
		}
	}
	if got != status {
		n.t.Errorf("status %d, want %d", got, status)
	}
	if n.t.Failed() {
		n.t.Log(out)
	}
}

// healthy is a criu that says that all is well.
const healthy = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Version: 4.1' || echo 'Looks good.' >&2\n"

// A node as docs/containers.md sets it up has no problem, and says so to people and to programs.
func TestDoctorOnHealthyNode(t *testing.T) {
	testenv.NeedTool(t, "runc")
	n := newNode(t)
	n.write("etc/crpie/containers.d/ids.conf", "real-criu "+testenv.NeedCRIU(t).Path+"\npie-plugin "+
		testenv.Plugin(t, "plugin-sdk/examples/new-id.c")+",var=INSTANCE_ID,value=secret\n")
	n.write("etc/criu/default.conf", "#crpie: pie-timeout 5s\n")
	n.write("etc/criu/runc.conf", "tcp-established\nrestore-with graft\n")
	n.wants(
		0,
		"ok       link: /usr/local/lib/crpie/criu is this crpie\n",
		"ok       criu: version 4.",
		"criu check: looks good\n",
		"ok       kernel: Linux ",
		"ok       capabilities: ",
		"ok       runc: runc version ",
		"starts crpie, /usr/local/lib/crpie/criu\n",
		"ok       configuration: /etc/crpie/containers.d/ids.conf, pie-plugin lines: 1\n",
		"ok       configuration: /etc/criu/default.conf, ",
		"ok       configuration: /etc/criu/runc.conf, ",
		"ok       plugins: ",
		"new-id.o,var=...,value=...\n",
		"ok       leftovers: none\n",
	)
	status, out := n.examined("--format", "json")
	var doc doctorReport
	if err := json.Unmarshal([]byte(out), &doc); err != nil || status != 0 || doc.SchemaVersion != 1 || !doc.OK {
		t.Errorf("status %d, %v\n%s", status, err, out)
	}
	if strings.Contains(out, "\x1b") || slices.ContainsFunc(doc.Findings, isProblem) ||
		!slices.ContainsFunc(doc.Findings, func(f doctor.Finding) bool { return f.Check == "runc" }) {
		t.Errorf("findings %v", doc.Findings)
	}
}

// Nothing is set up: every line says what to do.
func TestDoctorOnBareNode(t *testing.T) {
	n := newNode(t)
	must(t, os.Remove(filepath.Join(n.root, "local/lib/crpie/criu")))
	must(t, os.Symlink(testenv.NeedTool(t, "runc"), filepath.Join(n.root, "local/bin/runc")))
	n.path = "/usr/local/bin" // this machine may have a criu
	n.wants(
		1,
		"problem  link: /usr/local/lib/crpie/criu: not there; ",
		"ln -sfn /usr/local/bin/crpie /usr/local/lib/crpie/criu\n",
		"problem  criu: no criu found in PATH besides crpie",
		"hint: apt-get install criu",
		"finds no criu in PATH\n  hint: start it with PATH=/usr/local/lib/crpie:$PATH\n",
		"note     plugins: none is configured",
	)
	status, out := n.examined("--format", "json")
	var doc doctorReport
	if err := json.Unmarshal([]byte(out), &doc); err != nil || status != 1 || doc.OK {
		t.Errorf("status %d, %v\n%s", status, err, out)
	}
}

// Every criu that is not what it should be.
func TestDoctorOnWrongCRIU(t *testing.T) {
	for name, c := range map[string]struct{ criu, config, want string }{
		"fails": {"#!/bin/sh\n[ \"$1\" = --version ] && echo 'Version: 3.17.1' && exit\n" +
			"echo 'Error (criu/cr-check.c:10): no such thing' >&2; exit 1\n", "",
			"problem  criu: version 3.17.1, /usr/local/bin/criu; criu check: Error (criu/cr-check.c:10): no such thing\n"},
		"mute":    {"#!/bin/sh\n", "", "problem  criu: /usr/local/bin/criu --version: it says nothing\n"},
		"stop":    {"#!/bin/sh\nexit 3\n", "", "problem  criu: /usr/local/bin/criu --version: exit status 3\n"},
		"missing": {healthy, "real-criu /no/criu\n", "problem  criu: criu: stat /no/criu: no such file"},
		"folder":  {healthy, "real-criu /etc\n", "problem  criu: criu /etc: it is not a program\n"},
		"crpie": {healthy, "real-criu /usr/local/lib/crpie/criu\n",
			"problem  criu: criu /usr/local/lib/crpie/criu: it is crpie itself\n"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.program("local/bin/criu", c.criu)
			n.write("etc/crpie/containers.d/a.conf", c.config)
			n.wants(1, c.want)
		})
	}
}

// Every kind of file that a restore would stop at, each error apart.
func TestDoctorOnBrokenConfiguration(t *testing.T) {
	n := newNode(t)
	n.program("local/bin/criu", healthy)
	bad := loadertest.Compile(t, compiler, ".c", badSource)
	n.write("etc/crpie/containers.d/a.conf", "[image=x\npie-timeout soon\ntcp-close\npie-plugin relative.o\n")
	n.write("etc/crpie/containers.d/b.conf", "pie-plugin /no/such.o\npie-plugin "+bad+"\npie-plugin "+
		testenv.Plugin(t, "plugin-sdk/examples/new-id.c")+",vra=INSTANCE_ID\n")
	n.write("etc/crpie/containers.d/writable.conf", "")
	must(t, os.Chmod(filepath.Join(n.root, "etc/crpie/containers.d/writable.conf"), 0o666))
	n.write("etc/criu/default.conf", "pie-timeout 5s\n#crpie: pie-nonsense\n")
	n.write("etc/criu/crun.conf", "restore-with magic\n")
	n.write("run/runc/one/state.json", `{"config":{"labels":["bundle=/b","org.criu.config=/etc/one.conf"]}}`)
	n.write("run/containerd/io.containerd.runtime.v2.task/k8s.io/two/config.json",
		`{"annotations":{"org.criu.config":"/etc/two.conf"}}`)
	n.write("etc/two.conf", "pie-task\n")
	const rule, line = "problem  configuration: /etc/crpie/containers.d/", "problem  configuration: /etc/"
	n.wants(
		1,
		rule+"a.conf:1: ",
		rule+"a.conf:2: pie-timeout: soon: want a time",
		rule+"a.conf:3: unknown option tcp-close",
		"problem  plugins: open /no/such.o",
		"problem  plugins: relative.o: runtimes start crpie in directories of theirs",
		"problem  plugins: load "+bad+": PIE201 undefined symbol `helper`",
		"vra",
		rule+"writable.conf: mode 0666 lets others write it, whose code or settings would run with crpie's rights: "+
			"look at it and chmod go-w\n",
		line+"criu/default.conf:1: pie-timeout: criu reads this file",
		line+"criu/default.conf:2: unknown option pie-nonsense",
		line+"criu/crun.conf:1: restore-with: magic: want auto",
		line+"two.conf:1: pie-task: give a value",
		"problem  configuration: a container names it: stat /etc/one.conf: no such file",
	)
	must(t, os.Chmod(filepath.Join(n.root, "etc/crpie/containers.d"), 0o777))
	n.wants(1, "problem  configuration: /etc/crpie/containers.d: mode 0777 lets others write it")
}

// Runtimes that find another criu than crpie, or cannot restore at all.
func TestDoctorOnRuntimes(t *testing.T) {
	n := newNode(t)
	n.program("local/bin/criu", healthy)
	n.program("local/bin/crun", "#!/bin/sh\necho 'crun version 1.21'\necho +SECCOMP\n")
	n.wants(1, "problem  crun: crun version 1.21, /usr/local/bin/crun: built without CRIU")
	n.program("local/bin/crun", "#!/bin/sh\necho 'crun version 1.21'\necho +CRIU\n")
	must(t, os.Remove(filepath.Join(n.root, "etc/ld.so.cache"))) // which lists libraries
	n.wants(
		1,
		"problem  crun: crun version 1.21, /usr/local/bin/crun: libcriu.so.2 is not there",
		"hint: apt-get install libcriu2",
	)
	n.program("local/bin/crun", "#!/bin/sh\nexit 1\n")
	n.wants(1, "problem  crun: /usr/local/bin/crun --version: exit status 1\n")
	must(t, os.Remove(filepath.Join(n.root, "local/bin/crun")))
	must(t, os.Symlink(testenv.NeedTool(t, "runc"), filepath.Join(n.root, "local/bin/runc")))
	n.path = "/usr/local/bin" // without this machine's crun
	n.wants(0, "starts /usr/local/bin/criu, a script, which may lead to crpie")
	data, err := os.ReadFile("/bin/true")
	must(t, err)
	n.program("local/bin/criu", string(data))
	n.wants(
		1,
		"starts /usr/local/bin/criu, which is not crpie\n  hint: start it with PATH=/usr/local/lib/crpie:$PATH\n",
	)
	data, err = os.ReadFile("/proc/self/exe")
	must(t, err)
	n.program("local/bin/criu", string(data))
	n.wants(1, "starts another build of crpie, /usr/local/bin/criu\n")
}

// CRI-O and containerd have a PATH of their own, whether they run or not.
func TestDoctorOnServices(t *testing.T) {
	n := newNode(t)
	data, err := os.ReadFile("/bin/true")
	must(t, err)
	n.program("local/bin/criu", string(data))
	n.program(
		"local/bin/systemctl",
		"#!/bin/sh\n[ \"$3\" = crio.service ] && echo LoadState=loaded && cat /etc/environment.of.crio\n",
	)
	n.write("etc/environment.of.crio", "Environment=A=b\n")
	n.wants(1, "problem  CRI-O: crio.service, not running: starts /usr/local/bin/criu, which is not crpie\n"+
		"  hint: systemctl edit crio, and write [Service] and Environment=PATH=/usr/local/lib/crpie:/usr/local/sbin:")
	n.write("etc/environment.of.crio", "Environment=A=b PATH=/usr/local/lib/crpie:/bin\n")
	n.wants(1, "ok       CRI-O: crio.service, not running: starts crpie, /usr/local/lib/crpie/criu\n")

	sleep, err := os.ReadFile("/bin/sleep")
	must(t, err)
	n.program("local/bin/containerd", string(sleep))
	n.path = localPath
	cmd := n.inside("/usr/local/bin/containerd", "60")
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	comm := fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)
	await(t, "containerd starts", func() bool {
		name, err := os.ReadFile(comm)
		return err == nil && string(name) == "containerd\n"
	})
	running := fmt.Sprintf("containerd: pid %d: starts ", cmd.Process.Pid)
	n.wants(1, "problem  "+running+"/usr/local/bin/criu, which is not crpie\n  hint: systemctl edit containerd, ")
	n.write("etc/containerd/config.toml", "[x.options]\n  CriuPath = \"/usr/local/lib/crpie/criu\"\n")
	n.wants(1, "ok       "+running+"crpie, /usr/local/lib/crpie/criu\n")
}

// A service whose environment cannot be read is not guessed at.
func TestDoctorOnServicesOfOthers(t *testing.T) {
	setpriv := testenv.NeedTool(t, "setpriv")
	n := newNode(t)
	must(t, os.Chmod(n.root, 0o755))
	sleep, err := os.ReadFile("/bin/sleep")
	must(t, err)
	n.program("local/bin/containerd", string(sleep))
	cmd := n.inside("/usr/local/bin/containerd", "60")
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	await(t, "containerd starts", func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return err == nil && string(name) == "containerd\n"
	})
	nobody := n.inside(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/local/bin/crpie", "doctor")
	out, _ := nobody.CombinedOutput()
	want := fmt.Sprintf("note     containerd: pid %d: which criu it finds cannot be told: open /proc/%[1]d/environ: "+
		"permission denied\n  hint: run crpie doctor as root\n", cmd.Process.Pid)
	if !strings.Contains(string(out), want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}

// A directory that is named and cannot be read is a problem, as is one that cannot be removed.
func TestDoctorOnWhatItCannotReach(t *testing.T) {
	setpriv := testenv.NeedTool(t, "setpriv")
	n := newNode(t)
	must(t, os.Chmod(n.root, 0o755))
	n.write("run/file", "")
	n.write("run/a/closed/inside/file", "")
	must(t, os.Chmod(filepath.Join(n.root, "run/a/closed"), 0o700))
	n.write("run/open/.crpie-swrk-OLD/mounted/file", "")
	must(t, os.Symlink("open", filepath.Join(n.root, "run/link")))
	n.program("local/bin/nobody", "#!/bin/sh\nexec "+setpriv+" --reuid=65534 --regid=65534 --clear-groups \"$@\"\n")
	n.program("local/bin/mounted", "#!/bin/sh\nmount -t tmpfs none /run/open/.crpie-swrk-OLD/mounted\nexec \"$@\"\n")
	for _, c := range []struct{ words, want string }{
		{"crpie doctor /run/none", "problem  leftovers: stat /run/none: no such file or directory\n"},
		{"crpie doctor /run/file", "problem  leftovers: /run/file is not a directory\n"},
		{"nobody crpie doctor /run/a/closed", "problem  leftovers: open /run/a/closed: permission denied: there may be some\n" +
			"  hint: run crpie doctor as root\n"},
		{"nobody crpie doctor /run/a", "problem  leftovers: open /run/a/closed: permission denied: there may be some\n"},
		{"nobody crpie doctor /run/a/closed/inside",
			"problem  leftovers: stat /run/a/closed/inside: permission denied: there may be some\n" +
				"  hint: run crpie doctor as root\n"},
		{"crpie doctor /run/link", "problem  leftovers: /run/open/.crpie-swrk-OLD: a crpie that was killed has left it\n"},
		{"mounted crpie doctor --clean /run/link", "problem  leftovers: /run/open/.crpie-swrk-OLD: " +
			"a crpie that was killed has left it, and it cannot be removed: "},
		{"mounted crpie doctor --clean /run/open", "problem  leftovers: /run/open/.crpie-swrk-OLD: " +
			"a crpie that was killed has left it, and it cannot be removed: "},
	} {
		n.path = "/usr/local/lib/crpie:" + localPath
		cmd := n.inside(strings.Fields(c.words)...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), c.want) ||
			strings.Count(string(out), "leftovers: ") != 1 {
			t.Errorf("%s: %v, no %q in\n%s", c.words, cmd.ProcessState, c.want, out)
		}
	}
}

// What a killed front leaves is found and removed; what one still works in is not touched.
func TestDoctorSweepsLeftovers(t *testing.T) {
	c, images := checkpointed(t)
	c.front("restore-with graft\npie-timeout 1m\npie-allow-skipped-stages\npie-plugin " + testenv.Plugin(t, "testdata/plugins/fail.c") +
		",stage=PRE_SIGRETURN,how=hang\n")
	restored := make(chan bool)
	go func() {
		ok, _, _ := c.restores(images)
		restored <- ok
	}()
	scratch := func() []string {
		found, err := filepath.Glob(filepath.Join(c.dir, ".crpie-swrk-*"))
		must(t, err)
		return found
	}
	await(t, "the hook runs", func() bool {
		return len(scratch()) == 1 && fronts(t, c.dir) != 0 &&
			inCommandLine("/init") // of the container
	})
	if _, out, _ := crpie(t, "doctor", "--clean", c.dir); !strings.Contains(out, "ok       leftovers: none\n") ||
		len(scratch()) != 1 {
		t.Errorf("beside a restore: %s", out)
	}
	must(t, syscall.Kill(fronts(t, c.dir), syscall.SIGKILL))
	if <-restored {
		t.Error("runc has restored without an answer")
	}
	left := scratch()
	if len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
	status, out, _ := crpie(t, "doctor", filepath.Dir(c.dir))
	if status != 1 || !strings.Contains(out, "problem  leftovers: "+left[0]+": ") ||
		!strings.Contains(out, "hint: crpie doctor --clean") || len(scratch()) != 1 {
		t.Errorf("status %d, %s", status, out)
	}
	if _, out, _ = crpie(t, "doctor", "--clean", c.dir); !strings.Contains(
		out,
		"ok       leftovers: "+left[0]+": removed\n",
	) ||
		len(scratch()) != 0 {
		t.Errorf("swept: %s", out)
	}
}

// fronts finds the front that works with the rules of a container, 0 if none does.
func fronts(t *testing.T, dir string) int {
	t.Helper()
	self := executable(t)
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	must(t, err)
	for _, link := range links {
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(link), "cwd"))
		if exe, _ := os.Readlink(link); exe == self && strings.HasPrefix(string(line), "criu\x00swrk\x00") &&
			cwd == dir {
			var pid int
			_, err := fmt.Sscanf(link, "/proc/%d/exe", &pid)
			must(t, err)
			return pid
		}
	}
	return 0
}
