//go:build linux && amd64

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// bundle is a root file system with one static program in it, which tells its identity in /id.
func newContainer(t *testing.T) *container {
	t.Helper()
	c := &container{t: t, dir: t.TempDir(), criu: testenv.NeedCRIU(t).Path}
	c.name = "crpie-" + filepath.Base(filepath.Dir(c.dir))
	testenv.NeedTool(t, "runc")
	rootfs := filepath.Join(c.dir, "rootfs")
	for _, d := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(rootfs, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Join(testenv.Root(), "testdata", "victims", "container.c")
	c.must(exec.Command(testenv.NeedTool(t, "gcc"), "-static", "-O1", "-Wall", "-o", filepath.Join(rootfs, "init"), source))
	spec := exec.Command("runc", "spec")
	spec.Dir = c.dir
	c.must(spec)
	c.configure()
	t.Cleanup(func() { exec.Command("runc", "--root", filepath.Join(c.dir, "state"), "delete", "--force", c.name).Run() })
	return c
}

// configure: no terminal, no limits that need privileges to be raised, and the network of this machine, because CRIU
// locks another one with iptables.
func (c *container) configure() {
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
	process, linux := config["process"].(map[string]any), config["linux"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/init"}
	process["env"] = []string{"PATH=/", "INSTANCE_ID=the-first-of-its-kind"}
	delete(process, "rlimits")
	config["root"] = map[string]any{"path": "rootfs"}
	var namespaces []any
	for _, ns := range linux["namespaces"].([]any) {
		if ns.(map[string]any)["type"] != "network" {
			namespaces = append(namespaces, ns)
		}
	}
	linux["namespaces"] = namespaces
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
	cmd := exec.Command("runc", append([]string{"--root", filepath.Join(c.dir, "state"), "--log", log, "--criu", c.criu}, args...)...)
	cmd.Dir = c.dir
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log)
		c.t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
}

func (c *container) wantID(want string) {
	c.t.Helper()
	id := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(c.dir, "rootfs", "id"))
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
	if status, out := told(t, "graft", "-D", images, "-o", grafted, "--pie-plugin", plugin+",var=INSTANCE_ID,value=a-clone"); status != 0 {
		t.Fatal(out)
	}
	c.runc("restore", "--detach", "--image-path", grafted, "--work-path", filepath.Join(c.dir, "restore"), c.name)
	c.wantID("a-clone")
	if digest(t, images) != before {
		t.Error("the images have changed")
	}
}
