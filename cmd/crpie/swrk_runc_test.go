//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// frontOf puts crpie under the name criu in front of the tests' CRIU, with rules for containers, and returns its
// path. A script names crpie and its directory of rules, because podman clears the environment of its runtime.
func frontOf(t *testing.T, criu, rules string) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "criu")
	script := fmt.Sprintf("#!/bin/bash\nexport %s=1 CRPIE_CONFIG_DIR='%s'\nexec -a criu '%s' \"$@\"\n", asTool,
		dir, executable(t))
	err := os.Mkdir(filepath.Join(dir, "containers.d"), 0o755)
	if err == nil {
		text := "real-criu " + criu + "\n" + rules
		err = os.WriteFile(filepath.Join(dir, "containers.d", "test.conf"), []byte(text), 0o644)
	}
	if err == nil {
		err = os.WriteFile(name, []byte(script), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// checkpointed is a container that runc has checkpointed through crpie.
func checkpointed(t *testing.T) (c *container, images string) {
	t.Helper()
	c = newContainer(t)
	images = filepath.Join(c.dir, "images")
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	c.front("")
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	return c, images
}

// front makes runc start crpie as criu.
func (c *container) front(rules string) {
	c.t.Helper()
	c.criu = frontOf(c.t, testenv.NeedCRIU(c.t).Path, rules)
}

// restores lets runc restore, and returns what it says and criu's log.
func (c *container) restores(images string, flags ...string) (ok bool, said, log string) {
	c.t.Helper()
	work := filepath.Join(c.dir, "restore")
	arguments := append([]string{"--root", filepath.Join(c.dir, "state"), "--log", filepath.Join(c.dir, "runc.log"),
		"--criu", c.criu, "restore", "--detach", "--image-path", images, "--work-path", work}, flags...)
	cmd := exec.Command("runc", append(arguments, c.name)...)
	cmd.Dir = c.dir
	err := cmd.Run()
	text, _ := os.ReadFile(filepath.Join(work, "restore.log"))
	words, _ := os.ReadFile(filepath.Join(c.dir, "runc.log"))
	return err == nil, string(words), ownLines(string(text))
}

// ownLines are those that crpie has written to criu's log.
func ownLines(log string) string {
	var own strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "crpie: ") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// wantTidy fails the test if something of a restore's own is left beside the images.
func (c *container) wantTidy() {
	c.t.Helper()
	left, err := filepath.Glob(filepath.Join(c.dir, ".crpie-*"))
	if err != nil || len(left) > 0 {
		c.t.Errorf("left behind: %v %v", left, err)
	}
}

// A container that nobody has configured plugins for is criu's, from the first byte to the last.
func TestFrontLeavesOthersToCRIU(t *testing.T) {
	c, images := checkpointed(t)
	ok, said, log := c.restores(images)
	if !ok || strings.Contains(log, "crpie") {
		t.Errorf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantID("the-first-of-its-kind")
}

// runc restores, and the container wakes up with another identity; the images stay as they were.
func TestFrontGraftsOnTheWay(t *testing.T) {
	c, images := checkpointed(t)
	before := digest(t, images)
	c.front("restore-with graft\npie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") +
		",var=INSTANCE_ID,value=a-clone\n")
	ok, said, log := c.restores(images)
	if !ok || !strings.Contains(log, "crpie: restore-with graft: grafted ") ||
		!strings.Contains(log, "all hooks have run, grafted tasks: 1\n") {
		t.Errorf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantID("a-clone")
	c.wantTidy()
	if digest(t, images) != before {
		t.Error("the images have changed")
	}
}

// What plugins log is in the runtime's log, in order and with times that go on, whoever restores.
func TestFrontLogsForPlugins(t *testing.T) {
	c, images := checkpointed(t)
	plugin := testenv.Plugin(t, "testdata/plugins/chatty.c")
	for way, form := range map[string]string{
		"graft": "crpie: 1: chatty: PIE_RST_PRE_SIGRETURN: ", "crpie": "1: chatty: PIE_RST_PRE_SIGRETURN: ",
	} {
		c.front("restore-with " + way + "\npie-plugin " + plugin + "\n")
		ok, said, _ := c.restores(images)
		text, err := os.ReadFile(filepath.Join(c.dir, "restore", "restore.log"))
		must(t, err)
		log := string(text)
		if !ok {
			t.Fatalf("%s: %s\n%s", way, said, log)
		}
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprintf("%sline %d", form, i))
		}
		var got []string
		for line := range strings.Lines(log) {
			if _, what, _ := strings.Cut(strings.TrimSpace(line), ") "); strings.Contains(what, ": line ") {
				got = append(got, what)
			}
		}
		if !slices.Equal(got, want) || !strings.Contains(log, form+"Error: the\\nlast\n") {
			t.Errorf("%s: %q\n%s", way, got, log)
		}
		c.runc("delete", "--force", c.name)
	}
	c.front("restore-with crpie\npie-plugin " + testenv.Plugin(t, "testdata/plugins/fail.c") +
		",stage=POST_FILES,how=error\n")
	_, _, log := c.restores(images)
	wantTimesGoOn(t, log)
}

// wantTimesGoOn fails the test if a line of a log is older than the one before it.
func wantTimesGoOn(t *testing.T, log string) {
	t.Helper()
	last, lines := 0.0, 0
	for line := range strings.Lines(log) {
		var since float64
		if _, err := fmt.Sscanf(line, "(%f)", &since); err != nil {
			continue
		}
		if lines++; since < last {
			t.Errorf("time starts anew with %q in\n%s", line, log)
		}
		last = since
	}
	if lines < 2 {
		t.Errorf("no times in\n%s", log)
	}
}

// The annotation that names a file for criu names plugins as well, at a dump too, where criu must not see them.
func TestFrontFollowsAnnotations(t *testing.T) {
	c := newContainer(t)
	lines := fmt.Sprintf("# of this container\nrestore-with graft\npie-plugin %s,var=INSTANCE_ID,value=a-clone\n",
		testenv.Plugin(t, "plugin-sdk/examples/new-id.c"))
	config, images := filepath.Join(c.dir, "config.json"), filepath.Join(c.dir, "images")
	text, err := os.ReadFile(config)
	if err == nil {
		annotated := fmt.Sprintf(`{"annotations":{"org.criu.config":%q},`, filepath.Join(c.dir, "criu.conf"))
		err = os.WriteFile(config, []byte(strings.Replace(string(text), "{", annotated, 1)), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "criu.conf"), []byte(lines), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.front("")
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	if ok, said, log := c.restores(images); !ok || !strings.Contains(log, "crpie: restore-with graft: grafted ") {
		t.Errorf("restored: %v\n%s\n%s", ok, said, log)
	}
	c.wantID("a-clone")
}

// A hook that goes wrong is a restore that fails: runc says so, nothing is left, and the images can be restored
// again.
func TestFrontUndoesFailedHooks(t *testing.T) {
	c, images := checkpointed(t)
	for how, want := range map[string]string{
		"error": "plugin fail, hook PIE_RST_PRE_SIGRETURN, thread 1: fail_PRE_SIGRETURN+0x0 (",
		"null":  "fail_now+0x",
		"hang":  "still running after 300 ms",
		"exit":  "it ended while its hooks ran",
		"exec":  "restore task 1: ",
	} {
		t.Run(how, func(t *testing.T) {
			c := *c
			c.t = t
			os.Remove(filepath.Join(c.dir, "rootfs", "id"))
			c.front(fmt.Sprintf("restore-with graft\npie-timeout 300ms\npie-allow-skipped-stages\npie-plugin %s,stage=PRE_SIGRETURN,how=%s\n",
				testenv.Plugin(t, "testdata/plugins/fail.c"), how))
			ok, said, log := c.restores(images)
			if ok || !strings.Contains(log, want) || !strings.Contains(said, "criu failed: type ") ||
				!strings.Contains(log, "Error (crpie): restore task 1: ") {
				t.Errorf("restored: %v, want %q\n%s\n%s", ok, want, said, log)
			}
			if data, err := os.ReadFile(filepath.Join(c.dir, "rootfs", "id")); err == nil {
				t.Errorf("the application has run, as %q", data)
			}
			c.wantNothing()
			c.wantTidy()
		})
	}
	c.front("pie-plugin " + testenv.Plugin(t, "plugin-sdk/examples/new-id.c") + ",var=INSTANCE_ID,value=a-clone\n")
	if ok, said, log := c.restores(images); !ok {
		t.Errorf("without the plugin that fails: %s\n%s", said, log)
	}
	c.wantID("a-clone")
}

// wantNothing fails the test if runc knows of the container, or a process of its stays.
func (c *container) wantNothing() {
	c.t.Helper()
	out, err := exec.Command("runc", "--root", filepath.Join(c.dir, "state"), "list", "-q").Output()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		c.t.Errorf("runc still has %q %v", out, err)
	}
	await(c.t, "no process has its root in "+c.dir, func() bool { return len(c.rooted()) == 0 }) // killed ones take a while
}

// rooted lists the processes whose root is in the container's directory.
func (c *container) rooted() (roots []string) {
	c.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/root")
	must(c.t, err)
	for _, root := range all {
		if target, err := os.Readlink(root); err == nil && strings.HasPrefix(target, c.dir) {
			roots = append(roots, root)
		}
	}
	return roots
}

// podman restores three clones of one archive, each with a new identity, by rules for annotation, image and name; its
// runtime finds crpie in PATH.
func TestFrontUnderPodman(t *testing.T) {
	testenv.NeedTool(t, "podman")
	c := newContainer(t)
	archive := filepath.Join(c.dir, "checkpoint.tar.zst")
	image := c.image()
	c.front(fmt.Sprintf("[annotation=org.example.clone=y* image=localhost/%s:latest name=*d]\n"+
		"pie-plugin %s,var=INSTANCE_ID\n[name=fourth]\npie-plugin %[2]s,var=INSTANCE_ID\n"+
		"[annotation=org.example.clone=no]\npie-plugin /no/such.o\n",
		image, testenv.Plugin(t, "plugin-sdk/examples/new-id.c")))
	const first = "1b671a64-40d5-491e-99b0-da01ff1f3341" // as long as those that come
	c.podman("run", "--detach", "--name", "first", "--network=host", "--annotation", "org.example.clone=yes",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
		"--env", "INSTANCE_ID="+first, image, "/init")
	c.wantIDAt(c.mounted("first"), first)
	c.podman("container", "checkpoint", "--export", archive, "first")
	c.podman("rm", "first")
	ids := map[string]bool{first: true}
	for _, name := range []string{"second", "third", "fourth"} {
		c.podman("container", "restore", "--import", archive, "--name", name)
		id := c.nextIDAt(c.mounted(name), first)
		if ids[id] || len(id) != len(first) {
			t.Errorf("%s has the identity %q", name, id)
		}
		ids[id] = true
	}
}

// nextIDAt waits until a container tells another identity than the one that was dumped.
func (c *container) nextIDAt(rootfs, old string) (id string) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if data, err := os.ReadFile(filepath.Join(rootfs, "id")); err == nil && string(data) != old {
			return string(data)
		}
	}
	return old
}
