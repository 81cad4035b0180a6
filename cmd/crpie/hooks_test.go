//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// mustFail restores, which must fail with a message that matches want, and leave nothing.
func mustFail(t *testing.T, im *testenv.Images, want string, args ...string) {
	t.Helper()
	status, output := tool(t, im, append([]string{"restore", "-d", "-D", im.Dir}, args...)...)
	if status != exitFailed || !regexp.MustCompile(want).MatchString(output) {
		t.Errorf("%q: status %d, want %d, output:\n%s\nwant %s", args, status, exitFailed, output, want)
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// dumpedThreads lists the thread ids of the images, the smallest first.
func dumpedThreads(t *testing.T, dir string) (tids []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "core-*.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var tid int
		if _, err := fmt.Sscanf(filepath.Base(name), "core-%d.img", &tid); err != nil {
			t.Fatal(err)
		}
		tids = append(tids, tid)
	}
	slices.Sort(tids)
	return tids
}

// The thread that ends or replaces its task is named, whichever of the task's threads is seen to end first.
func TestWhoEndsATaskIsNamed(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	im := testenv.Start(t, "threads").Dump(t)
	tids := dumpedThreads(t, im.Dir)
	for _, tid := range []int{tids[0], tids[1], tids[len(tids)-1]} {
		for how, want := range map[string]string{
			"exit": `called exit_group\(7\)`, "exit1": `called exit\(7\)`,
			"exec": `called execve: it is "/.*bin/true" now`,
		} {
			spec := fmt.Sprintf("%s,stage=PRE_SIGRETURN_THREAD,tid=%d,how=%s", plugin, tid, how)
			mustFail(t, im, fmt.Sprintf("plugin fail, hook PIE_RST_PRE_SIGRETURN_THREAD, thread %d: .*: %s", tid, want), "--pie-plugin", spec)
		}
	}
}

// init and exit get a context; what init returns is judged as what a hook returns.
func TestInit(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/init-ctx.c") + ",who=me"
	im := testenv.Start(t, "static").Dump(t)
	p, output := restore(t, im, "-v3", "--pie-plugin", plugin)
	p.MustPass(t)
	for _, want := range []string{
		"init-ctx: init: stage 2 hook 0xf0 who=me\n",
		"init-ctx: PIE_RST_PRE_SIGRETURN_THREAD: hook 0x105 who=me\n",
		"init-ctx: PIE_RST_PRE_SIGRETURN: hook 0x106 who=me\n",
		"init-ctx: exit: stage 2 hook 0xf1 ret 0 who=me\n",
	} {
		if strings.Count(output, want) != 1 {
			t.Errorf("not once in the output: %s%s", want, output)
		}
	}
	for how, want := range map[string]string{
		"error": `returned -1 \(EPERM\)`, "positive": "returned 1, which is neither 0 nor a negative errno",
		"low":  "returned -5000, which is neither 0 nor a negative errno",
		"null": "crashed with SIGSEGV at address 0x0",
	} {
		mustFail(t, im, fmt.Sprintf(`plugin init-ctx, init, thread %d: plugin_init\+0x[0-9a-f]+ \(.*init-ctx\.c:\d+\): %s`, im.Pid, want),
			"--pie-plugin", plugin+",init="+how)
	}
	p, output = restore(t, im, "-v3", "--pie-plugin", plugin+",init=notsup")
	p.MustPass(t)
	if strings.Count(output, "init-ctx: ") != 1 || !strings.Contains(output, "init-ctx: init: ") {
		t.Errorf("after -ENOTSUP from init its plugin runs on:\n%s", output)
	}
}

// Two plugins of one name are told apart in the log and in reports.
func TestPluginsOfOneName(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	plugin, fail := trace(t), testenv.Plugin(t, "testdata/plugins/fail.c")
	p, output := restore(t, im, "-v3", "--pie-plugin", plugin+",a", "--pie-plugin", plugin+",b")
	p.MustPass(t)
	for _, want := range []string{"trace #1: PIE_RST_POST_FILES: ", "trace #2: PIE_RST_POST_FILES: "} {
		if !strings.Contains(output, want) {
			t.Errorf("no %q in:\n%s", want, output)
		}
	}
	p = graftOnto(t, im, "-v3", "--allow-skipped-stages", "--pie-plugin", plugin+",a", "--pie-plugin",
		plugin+",b").RestoreCRIU(t)
	p.MustPass(t)
	if out := p.Output(); !strings.Contains(out, "plugin trace #1, hook ") ||
		!strings.Contains(out, "plugin trace #2, hook ") {
		t.Errorf("grafted they are not told apart:\n%s", out)
	}
	mustFail(t, im, "plugin fail #2, hook PIE_RST_POST_FILES, ", "--pie-plugin", fail, "--pie-plugin",
		fail+",stage=POST_FILES")
}

// Objects that were compiled with the headers of version 1 of the interface work as they did.
func TestObjectsOfTheFirstVersion(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	plugin := filepath.Join(testenv.Root(), "testdata", "plugins", "abi1_amd64.o")
	if _, err := os.Stat(plugin); err != nil {
		t.Fatal(err)
	}
	p, output := restore(t, im, "-v3", "--pie-plugin", plugin)
	p.MustPass(t)
	if n := strings.Count(output, "init-exit: PIE_RST_"); n != 2 ||
		!strings.Contains(output, "inits=1 at stage 0x106") {
		t.Errorf("the plugin did not run:\n%s", output)
	}
	p = graftOnto(t, im, "--pie-plugin", plugin, "--allow-skipped-stages", "-v3").RestoreCRIU(t)
	p.MustPass(t)
	if !strings.Contains(p.Output(), "inits=1 at stage 0x106") {
		t.Errorf("grafted it did not run:\n%s", p.Output())
	}
}

// A mistake in a parameter is refused, all of them at once, before anything is created or written.
func TestDeclaredParameters(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	app, id := testenv.Plugin(t, "plugin-sdk/examples/tell-app.c"),
		testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	plugins := []string{"--pie-plugin", app + ",signal=10,mode=ad,value=x", "--pie-plugin", id + ",format=uid"}
	want := `crpie: plugin tell-app has no parameter "signal": it has symbol, addr, size, value, mode
plugin tell-app: parameter mode="ad" is not known: did you mean add?
plugin tell-app: parameter value="x" is not a number
plugin tell-app: one of the parameters symbol, addr is missing
plugin new-id: parameter format="uid" is not known: did you mean uuid?
plugin new-id: parameter var is missing: name of the environment variable
`
	out := filepath.Join(t.TempDir(), "out")
	for _, words := range [][]string{{"restore", "-D", im.Dir}, {"restore", "--dry-run", "-D", im.Dir},
		{"graft", "-D", im.Dir, "-o", out}} {
		status, got := told(t, append(words, plugins...)...)
		if status != exitFailed || got != want {
			t.Errorf("%s: status %d:\n%s", words[0], status, got)
		}
	}
	if _, err := os.Lstat(out); err == nil || len(im.Leftovers()) > 0 {
		t.Error("something was written or left")
	}
	if status, got := told(t, "inspect", app); status != exitOK ||
		!regexp.MustCompile(`size +enum 1\|2\|4\|8 +- +of the variable`).MatchString(got) ||
		!regexp.MustCompile(`addr +int from 1 +- +its address`).MatchString(got) {
		t.Errorf("inspect: status %d\n%s", status, got)
	}
}

// The commands about objects that the README shows work as they stand there.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(testenv.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	object, dir := testenv.Plugin(t, "plugin-sdk/examples/new-id.c"), t.TempDir()
	found := regexp.MustCompile("`crpie ((?:check|inspect|link|explain) [^`]*)`").FindAllStringSubmatch(
		string(readme), -1)
	if len(found) < 4 {
		t.Fatalf("commands %q", found)
	}
	for _, m := range found {
		line := strings.NewReplacer("hook.o…", object, "hook.o", object, "-o image",
			"-o "+filepath.Join(dir, "image")).Replace(m[1])
		if status, out := told(t, strings.Fields(line)...); status != exitOK {
			t.Errorf("crpie %s: status %d\n%s", line, status, out)
		}
	}
}
