package mnt

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/testenv"
)

// dumped is what CRIU has dumped of a mount namespace, and what was there before.
type dumped struct {
	dir    string // the images
	before string // mountinfo
	at     string // a directory in it
	files  string // its listing

	cgroups []string // that the processes were in
}

// unshared dumps a process in a mount namespace of its own, in which a script for sh has mounted things below the
// directory $D; files there in t are listed.
func unshared(t *testing.T, script string, options ...string) *dumped {
	t.Helper()
	dir := t.TempDir()
	const end = `
		cd /
		for fd in /proc/self/fd/*; do # no file of the old namespace
			if [ "${fd##*/}" -gt 2 ]; then eval "exec ${fd##*/}>&-"; fi
		done
		exec </dev/null >/dev/null 2>&1
		exec sleep 1000`
	cmd := exec.Command("unshare", "-m", "bash", "-ec", "cd $D\n"+script+end)
	cmd.Env = append(os.Environ(), "D="+dir, testenv.Mark())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	said, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-gone })
	waitFor(t, said.Name(), gone, func() bool {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
		return filepath.Base(name) == "sleep"
	})
	d := look(t, cmd.Process.Pid, filepath.Join(dir, "t"))
	criu := testenv.NeedCRIU(t).Path
	words := append([]string{"dump", "-t", fmt.Sprint(cmd.Process.Pid), "-D", d.dir, "-o", "dump.log", "-v4",
		"--network-lock", "skip"}, options...)
	run(t, exec.Command(criu, words...), filepath.Join(d.dir, "dump.log"))
	<-gone
	return d
}

func look(t *testing.T, pid int, dir string) *dumped {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	files := listing(t, filepath.Join(fmt.Sprintf("/proc/%d/root", pid), dir))
	return &dumped{dir: t.TempDir(), before: string(info), at: dir, files: files}
}

func waitFor(t *testing.T, log string, gone chan struct{}, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); !ready(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-gone:
			text, _ := os.ReadFile(log)
			t.Fatalf("it has ended: %s", text)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("it is not ready")
		}
	}
}

func run(t *testing.T, cmd *exec.Cmd, log string) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, errorsOf(log))
	}
}

func errorsOf(log string) (lines string) {
	text, _ := os.ReadFile(log)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "Error") {
			lines += line
		}
	}
	return lines
}

// listing tells all that is in a directory of the files there: kind and mode, owner, size, blocks, links, time,
// contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(dir, name)
		fmt.Fprintf(
			&b,
			"%s %v %d:%d %d %d %d %d %#x",
			rel,
			info.Mode(),
			st.Uid,
			st.Gid,
			st.Size,
			st.Blocks,
			st.Nlink,
			st.Mtim.Sec,
			st.Rdev,
		)
		switch {
		case e.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(name)
			fmt.Fprintf(&b, " -> %s", to)
		case e.Type().IsRegular() && st.Size < 1<<20:
			data, _ := os.ReadFile(name)
			fmt.Fprintf(&b, " %q", data[:min(len(data), 99)])
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return b.String()
}

func openImages(t *testing.T, dir string) *images.Dir {
	t.Helper()
	d, err := images.Open(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// container dumps a container of stock runc's, whose specification change has changed. Its root is left.
func container(t *testing.T, change func(dir string, spec map[string]any)) (d *dumped, rootfs string) {
	t.Helper()
	testenv.NeedTool(t, "runc")
	criu := testenv.NeedCRIU(t).Path
	dir, err := os.MkdirTemp("", "crpie-mnt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Unmount(filepath.Join(dir, "volume"), unix.MNT_DETACH) // where a test has shared it
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	rootfs = filepath.Join(dir, "rootfs")
	for _, name := range []string{"proc", "dev", "sys", "tmp", "volume"} {
		if err := os.MkdirAll(filepath.Join(rootfs, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "volume"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rootfs, "tmp", "first"), []byte("copied up"), 0o640); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(testenv.Root(), "testdata", "victims", "container.c")
	run(
		t,
		exec.Command(testenv.NeedTool(t, "gcc"), "-static", "-O1", "-o", filepath.Join(rootfs, "init"), source),
		"",
	)
	specify(t, dir, change)
	name, log := testenv.CgroupName(), filepath.Join(dir, "runc.log")
	runc := func(args ...string) {
		t.Helper()
		words := append([]string{"--root", filepath.Join(dir, "state"), "--log", log, "--criu", criu}, args...)
		cmd := exec.Command("runc", words...)
		cmd.Dir = dir
		if err := cmd.Run(); err != nil { // no pipes: the container inherits them
			text, _ := os.ReadFile(log)
			t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
		}
	}
	t.Cleanup(func() {
		exec.Command("runc", "--root", filepath.Join(dir, "state"), "delete", "--force", name).Run()
		removeCgroups(t, name)
	})
	runc("run", "--detach", "--pid-file", filepath.Join(dir, "pid"), name)
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	var pid int
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	d = look(t, pid, "/tmp")
	runc("checkpoint", "--image-path", d.dir, "--work-path", t.TempDir(), name)
	removeCgroups(t, name)
	return d, rootfs
}

// removeCgroups removes what runc has left of a container's cgroups: it tries for 150 ms, and CRIU does not wait for
// what it has killed.
func removeCgroups(t *testing.T, name string) {
	t.Helper()
	for _, dir := range testenv.CgroupDirs(os.Getpid()) {
		testenv.RemoveCgroup(t, filepath.Join(dir, name))
	}
}

// specify writes a specification: runc's own, but no terminal, no network namespace, which CRIU would want iptables
// for.
func specify(t *testing.T, dir string, change func(dir string, spec map[string]any)) {
	t.Helper()
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	run(t, cmd, "")
	name := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(name)
	var spec map[string]any
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	process, linux := spec["process"].(map[string]any), spec["linux"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/init"}
	process["env"] = []string{"PATH=/", testenv.Mark()}
	delete(process, "rlimits")
	var kept []any
	for _, ns := range linux["namespaces"].([]any) {
		if ns.(map[string]any)["type"] != "network" {
			kept = append(kept, ns)
		}
	}
	linux["namespaces"] = kept
	spec["root"] = map[string]any{"path": "rootfs"}
	change(dir, spec)
	if data, err = json.Marshal(spec); err == nil {
		err = os.WriteFile(name, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
