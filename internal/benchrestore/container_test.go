//go:build linux

package benchrestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// inContainer stands among the victims for a program that runc runs.
const inContainer = "container"

// container is a bundle with one static program, run by runc in namespaces of its own but for the network's.
type container struct {
	b         *testing.B
	dir, name string
	started   *os.File // gets the pid of each criu that runc starts
}

func newContainer(b *testing.B) *container {
	c := &container{b: b, dir: b.TempDir(), name: fmt.Sprintf("crpie-bench-%d", os.Getpid())}
	for _, dir := range []string{"rootfs/proc", "rootfs/dev", "rootfs/sys", "config/containers.d"} {
		must(b, os.MkdirAll(filepath.Join(c.dir, dir), 0o755))
	}
	source := filepath.Join(testenv.Root(), "testdata", "victims", "container.c")
	must(b, exec.Command("gcc", "-static", "-O1", "-o", filepath.Join(c.dir, "rootfs/init"), source).Run())
	spec := exec.Command(testenv.NeedTool(b, "runc"), "spec")
	spec.Dir = c.dir
	must(b, spec.Run())
	c.configure()
	rules := "real-criu " + testenv.NeedCRIU(b).Path + "\nrestore-with crpie\n"
	must(b, os.WriteFile(filepath.Join(c.dir, "config/containers.d/bench.conf"), []byte(rules), 0o644))
	must(b, os.Symlink(*program, filepath.Join(c.dir, "criu")))
	c.watch()
	b.Cleanup(func() { _ = c.command("", "delete", "--force", c.name).Run() })
	return c
}

// configure: no terminal, no limits that need privileges to be raised, the network of this machine.
func (c *container) configure() {
	name := filepath.Join(c.dir, "config.json")
	data, err := os.ReadFile(name)
	must(c.b, err)
	var config map[string]any
	must(c.b, json.Unmarshal(data, &config))
	process, linux := config["process"].(map[string]any), config["linux"].(map[string]any)
	process["terminal"], process["args"], process["env"] = false, []string{"/init"}, []string{"INSTANCE_ID=1"}
	delete(process, "rlimits")
	config["root"] = map[string]any{"path": "rootfs"}
	var kept []any
	for _, ns := range linux["namespaces"].([]any) {
		if ns.(map[string]any)["type"] != "network" {
			kept = append(kept, ns)
		}
	}
	linux["namespaces"] = kept
	data, err = json.Marshal(config)
	must(c.b, err)
	must(c.b, os.WriteFile(name, data, 0o644))
}

// command is one of runc's, which starts criu; its standard streams are /dev/null, which CRIU can dump.
func (c *container) command(criu string, words ...string) *exec.Cmd {
	words = append([]string{"--root", filepath.Join(c.dir, "state"), "--log", filepath.Join(c.dir, "log"), "--criu", criu},
		words...)
	cmd := exec.Command("runc", words...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "CRPIE_CONFIG_DIR="+filepath.Join(c.dir, "config"))
	return cmd
}

func (c *container) run(criu string, words ...string) time.Duration {
	c.b.Helper()
	start := time.Now()
	err := c.command(criu, words...).Run()
	took := time.Since(start)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		c.b.Fatalf("runc %s: %v\n%s", strings.Join(words, " "), err, log)
	}
	return took
}

// pss is the memory of the restored container, KiB.
func (c *container) pss() int {
	pid, err := os.ReadFile(filepath.Join(c.dir, "pid"))
	must(c.b, err)
	n, err := strconv.Atoi(string(pid))
	must(c.b, err)
	return testenv.PSS(c.b, n)
}

// watch makes the pipe that says which processes are criu.
func (c *container) watch() {
	fifo := filepath.Join(c.dir, "started")
	must(c.b, syscall.Mkfifo(fifo, 0o600))
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	must(c.b, err)
	c.started = f
	c.b.Cleanup(func() { _ = f.Close() })
}

// watched writes a criu that tells its pid and becomes the program.
func (c *container) watched(name string, argv ...string) string {
	script := fmt.Sprintf("#!/bin/sh\necho $$ >'%s/started'\nexec '%s' \"$@\"\n", c.dir, strings.Join(argv, "' '"))
	path := filepath.Join(c.dir, name)
	must(c.b, os.WriteFile(path, []byte(script), 0o755))
	return path
}

// restore times runc restore, and the criu that restores, from execve to exit.
func (c *container) restore(criu, images string) (whole, own time.Duration) {
	c.b.Helper()
	lives := make(chan life)
	go func() { lives <- lastLife(c.started) }()
	whole = c.run(criu, "restore", "--detach", "--image-path", images, "--work-path", filepath.Join(c.dir, "work"),
		"--pid-file", filepath.Join(c.dir, "pid"), c.name)
	_, err := fmt.Fprintln(c.started, noMore)
	must(c.b, err)
	last := <-lives
	must(c.b, last.err)
	return whole, last.took
}

// noMore stands for a pid when runc has ended.
const noMore = 0

// life is how long a process has lived.
type life struct {
	took time.Duration
	err  error
}

// lastLife follows processes by the pids that it reads. The last one counts: runc starts criu for its version, too.
func lastLife(pids *os.File) (last life) {
	for {
		var pid int
		if _, err := fmt.Fscanln(pids, &pid); err != nil || pid == noMore {
			last.err = errors.Join(last.err, err)
			return last
		}
		start := time.Now()
		p, err := sys.OpenPidfd(sys.PID(pid))
		if err == nil {
			err = p.AwaitEnd()
			p.Close()
		}
		last = life{time.Since(start), err}
	}
}

// measureContainer times runc restore, and what it waits for its criu of that.
func measureContainer(b *testing.B) string {
	c := newContainer(b)
	stock, images := testenv.NeedCRIU(b), filepath.Join(c.dir, "images")
	c.run(stock.Path, "run", "--detach", c.name)
	c.run(stock.Path, "checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	criu := []string{c.watched("crpie-criu", filepath.Join(c.dir, "criu")), c.watched("stock-criu", stock.Argv...)}
	whole, own := newResults(len(criu)), newResults(len(criu))
	for round := range *rounds + 1 {
		for i := range criu {
			who := (i + round) % len(criu)
			took, part := c.restore(criu[who], images)
			if round > 0 { // the first one fills caches
				pss := c.pss()
				whole.add(who, took, pss)
				own.add(who, part, pss)
			}
			c.run(stock.Path, "delete", "--force", c.name)
		}
	}
	byRunc := whole.line(b, "  by runc")
	return own.line(b, inContainer) + byRunc
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
