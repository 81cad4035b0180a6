//go:build linux && amd64

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// container is run by stock runc with the tests' CRIU.
type container struct {
	t          *testing.T
	dir        string // bundle, state and images
	name, criu string
}

// patientTempDir is t.TempDir, but removed with patience: a container's monitor, and the podman that it starts when the
// container has ended, write to podman's storage, and nobody can wait for them.
func patientTempDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "crpie-container-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(testenv.Timeout); inCommandLine(parent) && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(parent, "001")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// inCommandLine reports whether a process has a directory in its command line.
func inCommandLine(dir string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(lines, func(name string) bool {
		line, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(line), dir)
	})
}

// newContainer makes a bundle: a root file system with one static program in it, which tells its identity in /id.
func newContainer(t *testing.T) *container {
	t.Helper()
	c := &container{t: t, dir: patientTempDir(t), name: testenv.CgroupName(), criu: testenv.NeedCRIU(t).Path}
	testenv.NeedTool(t, "runc")
	rootfs := filepath.Join(c.dir, "rootfs")
	for _, d := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(rootfs, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Join(testenv.Root(), "testdata", "victims", "container.c")
	c.must(exec.Command(testenv.NeedTool(t, "gcc"), "-static", "-O1", "-Wall", "-o", filepath.Join(rootfs, "init"),
		source))
	spec := exec.Command("runc", "spec")
	spec.Dir = c.dir
	c.must(spec)
	c.configure()
	t.Cleanup(func() {
		exec.Command("runc", "--root", filepath.Join(c.dir, "state"), "delete", "--force", c.name).Run()
		c.killLeft()
		c.removeCgroups()
	})
	return c
}

// cgroups are where runc has a container of no other specification: below its own cgroups.
func (c *container) cgroups() (dirs []string) {
	for _, dir := range testenv.CgroupDirs(os.Getpid()) {
		dirs = append(dirs, filepath.Join(dir, c.name))
	}
	return dirs
}

// killLeft kills what runc does not know of, because a front was killed in a restore.
func (c *container) killLeft() {
	for _, dir := range c.cgroups() {
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, field := range strings.Fields(string(procs)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: of another pid namespace
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// removeCgroups removes what runc has left of them: it tries for 150 ms, CRIU does not wait for what it has killed, and
// one of version 2 beside those of version 1 stays.
func (c *container) removeCgroups() {
	c.t.Helper()
	for _, dir := range c.cgroups() {
		testenv.RemoveCgroup(c.t, dir)
	}
}

// configure: no terminal, no limits that need privileges to be raised, and the network of this machine, because CRIU
// locks another one with iptables.
func (c *container) configure() {
	c.t.Helper()
	c.change(func(config map[string]any) {
		process := config["process"].(map[string]any)
		process["terminal"], process["args"] = false, []string{"/init"}
		process["env"] = []string{"PATH=/", "INSTANCE_ID=the-first-of-its-kind", testenv.Mark()}
		delete(process, "rlimits")
		config["root"] = map[string]any{"path": "rootfs"}
		sharing("network")(config)
	})
}

// inNamespace gives the container a namespace of its own more, if the runtime's default has not: on a host with cgroup
// version 2 only it has a cgroup namespace.
func inNamespace(kind string) func(config map[string]any) {
	return func(config map[string]any) {
		sharing(kind)(config)
		linux := config["linux"].(map[string]any)
		linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": kind})
	}
}

// sharing leaves the container in the namespace of the tests.
func sharing(kind string) func(config map[string]any) {
	return func(config map[string]any) {
		linux := config["linux"].(map[string]any)
		linux["namespaces"] = slices.DeleteFunc(linux["namespaces"].([]any), func(ns any) bool {
			return ns.(map[string]any)["type"] == kind
		})
	}
}

// change changes the specification.
func (c *container) change(how func(config map[string]any)) {
	c.t.Helper()
	path := filepath.Join(c.dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		c.t.Fatal(err)
	}
	how(config)
	if data, err = json.Marshal(config); err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) must(cmd *exec.Cmd) {
	c.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// runc runs one of its commands, with a log file: a container inherits the standard streams, and CRIU can dump
// /dev/null, but no file outside of the container.
func (c *container) runc(args ...string) {
	c.t.Helper()
	log := filepath.Join(c.dir, "runc.log")
	cmd := exec.Command("runc", append(
		[]string{"--root", filepath.Join(c.dir, "state"), "--log", log, "--criu", c.criu}, args...)...)
	cmd.Dir = c.dir
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log)
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
}

func (c *container) wantID(want string) {
	c.t.Helper()
	c.wantIDAt(filepath.Join(c.dir, "rootfs"), want)
}

func (c *container) wantIDAt(rootfs, want string) {
	c.t.Helper()
	id := ""
	for end := time.Now().Add(testenv.Timeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(rootfs, "id"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.t.Fatal(err)
		}
		if id = string(data); id == want {
			return
		}
	}
	c.t.Errorf("the container says it is %q, want %q", id, want)
}

// A container that runc checkpointed wakes up with another identity when stock runc restores the grafted images.
func TestGraftRuncContainer(t *testing.T) {
	c := newContainer(t)
	images, grafted := filepath.Join(c.dir, "images"), filepath.Join(c.dir, "grafted")
	plugin := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	before := digest(t, images)
	if status, out := told(t, "graft", "-D", images, "-o", grafted, "--pie-plugin",
		plugin+",var=INSTANCE_ID,value=a-clone"); status != 0 {
		t.Fatal(out)
	}
	c.runc("restore", "--detach", "--image-path", grafted, "--work-path", filepath.Join(c.dir, "restore"), c.name)
	c.wantID("a-clone")
	if digest(t, images) != before {
		t.Error("the images have changed")
	}
}

// Clones of one graft differ by a file that each finds in its own root. One that cannot be read is an error.
func TestValuesAreReadInTheTask(t *testing.T) {
	c := newContainer(t)
	images, grafted := filepath.Join(c.dir, "images"), filepath.Join(c.dir, "grafted")
	spec := testenv.Plugin(t, "plugin-sdk/examples/new-id.c") + ",var=INSTANCE_ID,value=@task:/etc/clone"
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	if status, out := told(t, "graft", "-D", images, "-o", grafted, "--pie-plugin", spec); status != 0 {
		t.Fatal(out)
	}
	c.front("restore-with crpie\npie-plugin " + spec + "\n")
	ok, said, _ := c.restores(images)
	text, err := os.ReadFile(filepath.Join(c.dir, "restore/restore.log"))
	must(t, err)
	if log := string(text); ok || !strings.Contains(log, "cannot read value from /etc/clone: ENOENT (-2)") {
		t.Errorf("restored: %v\n%s\n%s", ok, said, log)
	}
	native, stock := c.criu, testenv.NeedCRIU(t).Path
	must(t, os.Mkdir(filepath.Join(c.dir, "rootfs/etc"), 0o755))
	for id, way := range map[string]struct{ criu, images string }{
		"stock-1": {stock, grafted}, "stock-2": {stock, grafted}, "natively": {native, images},
		strings.Repeat("x", len("the-first-of-its-kind")): {stock, grafted},
	} {
		must(t, os.WriteFile(filepath.Join(c.dir, "rootfs/etc/clone"), []byte(id+"\n"), 0o644))
		c.criu = way.criu
		c.runc("restore", "--detach", "--image-path", way.images, "--work-path", filepath.Join(c.dir, "restore"), c.name)
		c.wantID(id)
		c.runc("delete", "--force", c.name)
	}
}

// podman exports a container to an archive, and restores another one, with another identity, from the grafted archive.
func TestGraftPodmanContainer(t *testing.T) {
	c := newPodmanContainer(t)
	archive, grafted := filepath.Join(c.dir, "checkpoint.tar.zst"), filepath.Join(c.dir, "grafted.tar.zst")
	c.podman("container", "checkpoint", "--export", archive, "first")
	c.podman("rm", "first")
	plugin := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	status, out := told(t, "graft", "--archive", archive, "-o", grafted, "--pie-plugin",
		plugin+",var=INSTANCE_ID,value=a-clone")
	if status != 0 {
		t.Fatal(out)
	}
	c.podman("container", "restore", "--import", grafted, "--name", "second")
	c.wantIDAt(c.mounted("second"), "a-clone")
}

// newPodmanContainer runs a container with the name first, as podman runs them by default but in the network of this
// machine.
func newPodmanContainer(t *testing.T) *container {
	t.Helper()
	testenv.NeedTool(t, "podman")
	c := newContainer(t)
	image := c.image()
	c.podman("run", "--detach", "--name", "first", "--network=host", "--ulimit", "nofile=1024:1024", "--ulimit",
		"nproc=1000:1000",
		"--env", "INSTANCE_ID=the-first-of-its-kind", "--env", testenv.Mark(), image, "/init")
	c.wantIDAt(c.mounted("first"), "the-first-of-its-kind")
	return c
}

// podman runs one of its commands with storage of this test's own and the tests' CRIU.
func (c *container) podman(args ...string) string {
	c.t.Helper()
	words := append([]string{"--root", filepath.Join(c.dir, "storage"), "--runroot", filepath.Join(c.dir, "run"),
		"--runtime", "runc",
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}, args...)
	cmd := exec.Command("podman", words...)
	cmd.Env = append(os.Environ(), testenv.Mark(), "PATH="+filepath.Dir(c.criu)+":"+os.Getenv("PATH"),
		"PODMAN_IGNORE_CGROUPSV1_WARNING=1") // podman 5 would print it between its answers
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// mounted is the root file system of a running container.
func (c *container) mounted(name string) string {
	c.t.Helper()
	return c.podman("mount", name)
}
