//go:build linux && amd64

package inject

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

const changeSource = "testdata/plugins/change.c"

// diffLines spells a diff out, one line for each change, without addresses.
func diffLines(d *Diff) (all []string) {
	for _, c := range d.Memory {
		all = append(all, fmt.Sprintf("%s|%s|%s|%d|%s|%s", c.Symbol, c.Variable, c.Type, c.Size, c.Before, c.After))
	}
	for _, list := range [][]*Change{d.Descriptors, d.Signals, d.Limits, d.Environment, d.Attributes} {
		for _, c := range list {
			all = append(all, c.What+"|"+c.Before+"|"+c.After)
		}
	}
	for _, c := range d.Mappings {
		all = append(all, c.Before+"|"+c.After)
	}
	for _, p := range d.Pointers {
		all = append(all, "pointer "+p.Symbol)
	}
	return append(all, d.Unknown...)
}

// zombies counts the children of a process that have ended.
func zombies(t *testing.T, pid int) (n int) {
	t.Helper()
	for _, child := range sys.Children(sys.PID(pid)) {
		if stateOf(t, int(child)) == "Z" {
			n++
		}
	}
	return n
}

// A rehearsal does not touch the program, whatever becomes of it; what it would have changed is reported.
func TestRehearsal(t *testing.T) {
	plugin := testenv.Plugin(t, changeSource)
	for _, victim := range []string{"static", "threads", "python", "golang", "avx", "timers", "sharing"} {
		t.Run(victim, func(t *testing.T) { rehearse(t, victim, plugin, "") })
	}
	for then, want := range map[string]string{"null": "crashed with SIGSEGV at address 0x0", "error": "returned -5 (EIO)",
		"hang": "still running after 200ms"} {
		t.Run(then, func(t *testing.T) { rehearse(t, "threads", plugin+",then="+then, want) })
	}
}

func rehearse(t *testing.T, victim, plugin, want string) {
	p := testenv.Start(t, victim)
	maps, children := mappings(t, p.Pid), len(sys.Children(sys.PID(p.Pid)))
	got := order{Pid: p.Pid, Rehearse: true, Diff: true, Limit: 200 * time.Millisecond, Times: 3,
		Plugin: plugin}.carryOut(t)
	if !strings.Contains(got.Error, want) || want == "" && got.Error != "" {
		t.Fatalf("got %q, want %q", got.Error, want)
	}
	done := got.Report.Processes[0]
	changed := strings.Join(diffLines(done.Diff), "\n")
	for _, text := range []string{"/dev/null, position 0", "SIGUSR2|", "|SIG_IGN", "|r--p", "cwd|",
		"Max core"} {
		if !strings.Contains(changed, text) {
			t.Errorf("%q is not in:\n%s", text, changed)
		}
	}
	if !done.Rehearsed || done.Calls[0].Tid != p.Pid || len(done.Diff.Memory) > 0 {
		t.Errorf("%+v\n%s", done, changed)
	}
	if now := mappings(t, p.Pid); strings.Count(now, "r-xp") != strings.Count(maps, "r-xp") {
		t.Errorf("executable memory stays:\n%s", now)
	}
	if now := len(sys.Children(sys.PID(p.Pid))); now != children || zombies(t, p.Pid) != 0 {
		t.Errorf("it has %d children, had %d", now, children)
	}
	p.MustPass(t)
}

// What hooks do not change is not in the report, whatever the program is.
func TestNothingChanges(t *testing.T) {
	for _, victim := range []string{"static", "threads", "python", "golang", "glibc", "avx", "mappings", "memfd"} {
		t.Run(victim, func(t *testing.T) {
			p := testenv.Start(t, victim)
			for _, rehearse := range []bool{false, true} {
				got := order{Pid: p.Pid, Diff: true, Rehearse: rehearse, Times: 3,
					Plugin: testenv.Plugin(t, traceSource)}.carryOut(t)
				if got.Error != "" {
					t.Fatal(got.Error)
				}
				notCopied := func(line string) bool { return strings.Contains(line, "MADV_") }
				lines := slices.DeleteFunc(diffLines(got.Report.Processes[0].Diff), notCopied)
				if len(lines) > 0 {
					t.Errorf("rehearsed: %v, changed:\n%s", rehearse, strings.Join(lines, "\n"))
				}
			}
			p.MustPass(t)
		})
	}
}

const diffProgram = `#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
struct inner { short numbers[4]; int count; };
struct { char name[8]; struct inner inner; } state = {"state", {{1, 2, 3, 4}, 5}};
int generation = 7;
void *kept;
__attribute__((aligned(4096))) int shared[1024] = {3};
static void *spin(void *arg)
{
	for (;;)
		pause();
	return arg;
}
int main(void)
{
	pthread_t thread;
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, spin, NULL);
	mmap(shared, sizeof shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	shared[0] = 3;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
	return state.inner.count;
}
`

// startProgram starts a program that says when it is ready.
func startProgram(t *testing.T, path string, args ...string) int {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"INSTANCE_ID=web-0001"}
	cmd.Dir = t.TempDir()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// Changes are named: by DWARF, by symbols, or by their mapping.
func TestDiff(t *testing.T) {
	plugin := testenv.Plugin(t, changeSource) + ",symbol=generation,keep=kept,var=INSTANCE_ID"
	common := []string{"SIGUSR2|SIG_DFL|SIG_IGN", "INSTANCE_ID|web-0001|xxxxxxxx", "pointer kept",
		"environment variable INSTANCE_ID|||8|7765622d30303031|7878787878787878",
		"3||/dev/null, position 0, flags 0100002", "|r--p"}
	for kind, flags := range map[string][]string{"debug": {"-g"}, "static": {"-static"}, "symbols": {"-no-pie"}} {
		t.Run(kind, func(t *testing.T) {
			pid := startProgram(t, compileText(t, diffProgram, append(flags, "-pthread")...))
			variable := "|"
			if kind == "debug" {
				variable = "generation|int"
			}
			for i, o := range []order{{Rehearse: true}, {Rehearse: true}, {}, {Rehearse: true}} {
				o.Pid, o.Diff, o.Plugin = pid, true, plugin
				got := o.carryOut(t)
				if got.Error != "" {
					t.Fatal(got.Error)
				}
				lines := diffLines(got.Report.Processes[0].Diff)
				want := []string{fmt.Sprintf("generation|%s|4|%02x000000|%02x000000", variable, 7+i/3, 8+i/3)}
				if i < 3 {
					want = append(want, common...)
				}
				for _, line := range want {
					if !slices.Contains(lines, line) {
						t.Errorf("attachment %d: %q is not in:\n%s", i, line, strings.Join(lines, "\n"))
					}
				}
			}
		})
	}
}

// What a hook has changed before it fails is described, also in a program that is not let go any more.
func TestDiffOfAFailedHook(t *testing.T) {
	path := compileText(t, diffProgram, "-g", "-pthread")
	plugins := load(t, testenv.Plugin(t, changeSource)+",symbol=generation,then=error")
	_, done, err := Spawn(t.Context(), &Program{Path: path, Args: []string{"program"}},
		&Options{Plugins: plugins, Diff: true, StopTimeout: testenv.Timeout})
	if err := expect(err, "returned -5 (EIO)"); err != nil {
		t.Fatal(err)
	}
	p := done.Processes[0]
	if p.At != "main" || p.Paused == 0 {
		t.Errorf("at %q, stopped for %v", p.At, p.Paused)
	}
	if lines := diffLines(p.Diff); !slices.Contains(lines, "generation|generation|int|4|07000000|08000000") {
		t.Error(strings.Join(lines, "\n"))
	}
}

// A rehearsal does not write to memory that the program shares with others; the diff sees it both times.
func TestSharedMemory(t *testing.T) {
	pid := startProgram(t, compileText(t, diffProgram, "-g", "-pthread"))
	plugin := testenv.Plugin(t, changeSource) + ",symbol=shared"
	for i, want := range []string{"03000000|04000000", "03000000|04000000", "04000000|05000000"} {
		got := order{Pid: pid, Diff: true, Rehearse: i != 1, Plugin: plugin}.carryOut(t)
		if got.Error != "" {
			t.Fatal(got.Error)
		}
		if lines := strings.Join(diffLines(got.Report.Processes[0].Diff), "\n"); !strings.Contains(lines, want) {
			t.Errorf("attachment %d: %q is not in:\n%s", i, want, lines)
		}
	}
}

// System calls are listed with what they were asked and gave.
func TestTrace(t *testing.T) {
	p := testenv.Start(t, "threads")
	got := order{Pid: p.Pid, Trace: true, Plugin: testenv.Plugin(t, changeSource)}.carryOut(t)
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	var lines []string
	for _, s := range got.Report.Processes[0].Calls[0].Syscalls {
		lines = append(lines, s.String())
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"rt_sigaction(SIGUSR2, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, NULL, 8) = 0\n", `chdir("/") = 0` + "\n",
		`openat(AT_FDCWD, "/dev/null", O_RDWR) = `, "mmap(0, 12288, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d calls:\n%s", len(lines), text)
	}
	exit := order{Pid: p.Pid, Trace: true, Plugin: testenv.Plugin(t, failSource) + ",stage=POST_FILES,how=exit"}.carryOut(t)
	calls := exit.Report.Processes[0].Calls
	traced := calls[len(calls)-1].Syscalls
	if len(traced) == 0 || traced[len(traced)-1].String() != "exit_group(7) did not return" {
		t.Errorf("the last calls are %v", traced)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}
