//go:build linux && amd64

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// What hooks do not change is not in the report, whatever the restored program is.
func TestDiffOfNothing(t *testing.T) {
	plugin := trace(t)
	testenv.EachDump(t, func(t *testing.T, name string, release testenv.Release) {
		if release != testenv.Stable {
			return
		}
		im := testenv.Start(t, name, victimArgs(name, release)...).Dump(t)
		p, output := restore(t, im, "--diff", "--pie-plugin", plugin+",who=me")
		if found := findings(output); len(found) > 0 || !regexp.MustCompile(`\n  (changed nothing|not compared)`).MatchString(output) {
			t.Errorf("%q\n%s", found, output)
		}
		p.MustPass(t)
	})
}

// findings lists what a report of --diff says of changes. What a socket maps is not looked at, and said to be.
func findings(output string) (all []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		change := regexp.MustCompile(`^(memory|mapping|descriptor|signal|limit|variable|register|timer|status|warning:) `)
		if change.MatchString(line) || strings.HasPrefix(line, "not compared: ") && !strings.Contains(line, "of a device") {
			all = append(all, line)
		}
	}
	return all
}

const diffVictim = `#include <pthread.h>
#include "victim.h"
int victim_failures;
struct inner { short numbers[4]; int count; };
struct { char name[8]; struct inner inner; } state = {"state", {{1, 2, 3, 4}, 5}};
int generation = 7;
void *kept;
static void *spin(void *arg)
{
	for (;;)
		pause();
	return arg;
}
int main(void)
{
	pthread_t thread;
	victim_begin();
	MUST(putenv((char *)"LITERAL=value") == 0); /* which no image has */
	for (int i = 0; i < 2; i++)
		MUST(pthread_create(&thread, NULL, spin, NULL) == 0);
	victim_wait();
	printf("generation %d, count %d\n", generation, state.inner.count);
	return victim_end();
}
`

// dumpOf builds a victim and dumps it.
func dumpOf(t *testing.T, source string, flags ...string) *testenv.Images {
	t.Helper()
	testenv.NeedCRIU(t)
	path := filepath.Join(t.TempDir(), "app.c")
	must(t, os.WriteFile(path, []byte(source), 0o600))
	words := append([]string{"gcc", "-pthread", "-I", filepath.Join(testenv.Root(), "testdata", "victims"), path, "-o", "OUT"},
		flags...)
	return testenv.StartCommand(t, "app", built(t, "app", words...)).Dump(t)
}

// plain takes out of a report what differs from one restore to the next.
func plain(report string) string {
	for _, r := range []struct{ what, with string }{
		{`(after|stopped for) [0-9.]+[nµm]?s`, "$1 T"}, {`0x[0-9a-f]{5,}`, "ADDR"}, {`[0-9a-f]{8,}-[0-9a-f]{8,}`, "RANGE"},
		{` in /\S+`, " in FILE"}, {`(process|thread) [0-9]+`, "$1 N"}, {`-> [0-9]{12,}`, "-> ADDR"},
	} {
		report = regexp.MustCompile(r.what).ReplaceAllString(report, r.with)
	}
	return report
}

const diffReport = `process N "app", 3 threads
  stages: hook PIE_RST_TASK_CREATED, thread N: returned 0 after T
  stages: hook PIE_RST_POST_MEMORY, thread N: returned 0 after T
  stages: hook PIE_RST_POST_FILES, thread N: returned 0 after T
  stages: hook PIE_RST_POST_THREADS, thread N: returned 0 after T
  stages: hook PIE_RST_PRE_CREDS, thread N: returned 0 after T
  stages: hook PIE_RST_PRE_SIGRETURN_THREAD, thread N: returned 0 after T
  stages: hook PIE_RST_PRE_SIGRETURN_THREAD, thread N: returned 0 after T
  stages: hook PIE_RST_PRE_SIGRETURN_THREAD, thread N: returned 0 after T
  stages: hook PIE_RST_PRE_SIGRETURN, thread N: returned 0 after T
  memory generation (int), ADDR in FILE 4 bytes: 7 -> 11
  memory kept (void *), ADDR in FILE 8 bytes: 0 -> ADDR
  mapping RANGE: new: r--p
  descriptor 3: new: /dev/null, position 0, flags 0100002
  signal SIGUSR2: SIG_DFL -> handler ADDR, flags 0x0, mask 0x0
  limit Max core file size: LIMIT -> LIMIT, which the restore has changed again
  register r11 of thread N: REG -> 0x1267
  register r11 of thread N: REG -> 0x1267
  register r11 of thread N: REG -> 0x1267
  status Umask: 0022 -> 0123
  warning: the action of SIGUSR2 points to memory of the plugins, which is unmapped afterwards: ADDR
  warning: kept (void *), ADDR in FILE points to memory of the plugins, which is unmapped afterwards: ADDR
`

// The changes of all stages are in the report, word by word, and the program has them.
func TestDiffOfARestore(t *testing.T) {
	im := dumpOf(t, diffVictim, "-g")
	plugin := testenv.Plugin(t, "testdata/plugins/stages.c") + ",symbol=generation,keep=kept"
	for _, how := range [][]string{nil, {"--page-readers=0"}} {
		p, output := restore(t, im, append([]string{"--diff", "--pie-plugin", plugin}, how...)...)
		got := plain(output)
		got = regexp.MustCompile(`[a-z0-9]+, at most [a-z0-9]+`).ReplaceAllString(got, "LIMIT")
		got = regexp.MustCompile(`(r11 of thread N: )\S+`).ReplaceAllString(got, "${1}REG")
		if got != diffReport {
			t.Errorf("got:\n%s\nwant:\n%s", got, diffReport)
		}
		p.MustPass(t)
		if !strings.Contains(p.Output(), "generation 11, count 5\n") {
			t.Error(p.Output())
		}
	}
}

// calls is the document of --diff and --trace.
func calls(t *testing.T, text string) (doc tryReport) {
	t.Helper()
	must(t, json.Unmarshal([]byte(text), &doc))
	return doc
}

// The document goes to a file of its own, which nobody else reads; standard output has that of a failure.
func TestDiffAsJSON(t *testing.T) {
	im := dumpOf(t, diffVictim)
	plugin := testenv.Plugin(t, "testdata/plugins/stages.c") + ",symbol=generation"
	name := filepath.Join(t.TempDir(), "report.json")
	p, output := restore(t, im, "--diff", "--trace", "-f", "json", "--report", name, "--pie-plugin", plugin)
	p.MustPass(t)
	text, err := os.ReadFile(name)
	must(t, err)
	info, err := os.Stat(name)
	must(t, err)
	doc := calls(t, string(text))
	if !doc.OK || doc.SchemaVersion != 1 || len(doc.Processes) != 1 || output != "" || info.Mode() != 0o600 {
		t.Fatalf("%+v, %v, %q", doc, info.Mode(), output)
	}
	diff := doc.Processes[0].Diff
	if c := diff.Memory[0]; c.Symbol != "generation" || c.Before != "07000000" || c.After != "0b000000" || !diff.Limits[0].Undone {
		t.Errorf("%+v, %+v", c, diff.Limits[0])
	}
	if s := doc.Processes[0].Calls[0].Syscalls; len(s) != 2 || s[0].Name != "prlimit64" {
		t.Errorf("%v", s)
	}
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--trace", "-f", "json", "--report", name,
		"--pie-plugin", plugin+",fail=1")
	text, err = os.ReadFile(name)
	must(t, err)
	doc = calls(t, string(text))
	failed := doc.Processes[0].Calls
	if status != exitFailed || doc.OK || doc.Failure == nil || !failed[len(failed)-1].Failed ||
		failed[len(failed)-1].Result != -5 || strings.Count(output, "\"kind\"") != 1 {
		t.Errorf("status %d, %s\n%s", status, text, output)
	}
}

// Each task of a tree has a report of its own, also where it has other pids outside.
func TestDiffOfATree(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/change.c")
	for _, c := range []struct {
		victim  string
		least   int // processes
		restore func(*testing.T, *testenv.Images, ...string) (*testenv.Process, string)
	}{{"tree", 3, restore}, {"threads", 1, restoreNewPids}} {
		im := testenv.Start(t, c.victim).Dump(t)
		p, output := c.restore(t, im, "--diff", "--trace", "--pie-plugin", plugin)
		opened := strings.Count(output, "descriptor ")
		if n := strings.Count(output, "process "); n < c.least || opened != n || strings.Count(output, "openat(") != n {
			t.Errorf("%s: %d processes, %d descriptors\n%s", c.victim, n, opened, output)
		}
		p.MustPass(t)
	}
	awaitNoInit(t)
}

// A hook that hangs or crashes under observation is reported as without.
func TestWatchedHookFails(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/change.c")
	for then, want := range map[string]string{"null": "crashed with SIGSEGV at address 0x0", "error": "returned -5 (EIO)",
		"hang": "still running after 3s"} {
		status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--trace", "--pie-timeout", "3s",
			"--pie-plugin", plugin+",then="+then)
		if status != exitFailed || !strings.Contains(output, want) ||
			!strings.Contains(output, "change: hook PIE_RST_PRE_SIGRETURN") || !strings.Contains(output, `chdir("/") = 0`) {
			t.Errorf("%s: status %d\n%s", then, status, output)
		}
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Combinations that cannot be are refused before anything is read.
func TestDiffMisused(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--report x", "--report needs --diff or --trace"},
		{"--clones 2 --diff", "--clones and --diff or --trace exclude each other: look at a restore of one"},
		{"--diff --dry-run", "--diff and --trace need hooks that run, and --dry-run runs none"},
		{"--trace --pie-pause PRE_SIGRETURN", "--pie-pause lets a debugger look, --diff and --trace look themselves: give one of them"},
	} {
		status, _, stderr := crpie(t, append([]string{"restore", "-D", "nowhere"}, strings.Fields(c.args)...)...)
		if status != exitUsage || !strings.Contains(stderr, fmt.Sprintf("crpie: %s\n", c.want)) {
			t.Errorf("%s: status %d: %s", c.args, status, stderr)
		}
	}
}
