//go:build linux && amd64

package inject

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/stage"
)

const traceSource, failSource = "plugin-sdk/examples/trace.c", "testdata/plugins/fail.c"

// load loads plugins as --pie-plugin names them.
func load(t *testing.T, spec string) []blob.Input {
	t.Helper()
	inputs, err := pluginspec.Load([]string{spec}, trust.Rule{})
	if err != nil {
		t.Fatal(err)
	}
	return inputs
}

// attach runs the hooks of the trace plugin in a victim, which has no memory more afterwards.
func attach(t *testing.T, pid int, o order) outcome {
	t.Helper()
	o.Pid, o.Plugin = pid, testenv.Plugin(t, traceSource)
	mapped := strings.Count(mappings(t, pid), "r-xp")
	got := o.carryOut(t)
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	if now := mappings(t, pid); strings.Count(now, "r-xp") != mapped {
		t.Errorf("executable memory stays:\n%s", now)
	}
	return got
}

func mappings(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Programs of many kinds do not notice that hooks of all stages ran in them.
func TestVictimsDoNotNotice(t *testing.T) {
	for name, times := range map[string]int{
		"static": 200, "python": 200, "glibc": 20, "threads": 20, "restless": 50, "timers": 20, "golang": 50,
		"avx": 50, "signals": 20, "perl": 20, "specials": 20, "high": 20,
	} {
		t.Run(name, func(t *testing.T) {
			victim := testenv.Start(t, name)
			attach(t, victim.Pid, order{Times: times})
			victim.MustPass(t)
		})
	}
}

// Hooks run in the order of a restore, with a context that is the process's; what they log arrives.
func TestHooksOfAllStages(t *testing.T) {
	victim := testenv.Start(t, "threads", "3")
	done := attach(t, victim.Pid, order{})
	calls, log := done.Report.Processes[0].Calls, done.Log
	if len(calls) != 6+4 || len(log) != len(calls) {
		t.Fatalf("%d calls, %d lines", len(calls), len(log))
	}
	for i, c := range calls {
		line := log[i]
		want := fmt.Sprintf("pid=%d tid=%d threads=4 comm=threads", victim.Pid, c.Tid)
		if i > 0 && line.Hook < log[i-1].Hook || line.Hook.String() != c.Hook || line.Tid != c.Tid ||
			!strings.Contains(line.Text, want) || c.Early != (line.Hook < stage.PreSigreturnThread) {
			t.Errorf("call %d: %+v logged %+v", i, c, line)
		}
	}
	only := attach(t, victim.Pid, order{Stages: []stage.Stage{stage.PreSigreturn}})
	if calls := only.Report.Processes[0].Calls; len(calls) != 1 || calls[0].Hook != stage.PreSigreturn.String() {
		t.Errorf("calls %+v", calls)
	}
	victim.MustPass(t)
}

// A tree gets the hooks in each of its processes.
func TestTree(t *testing.T) {
	victim := testenv.Start(t, "tree")
	done := attach(t, victim.Pid, order{Tree: true})
	if len(done.Report.Processes) < 2 {
		t.Errorf("%+v", done.Report)
	}
	victim.MustPass(t)
}

// Whatever a hook does, the report says it, and a process that was running goes on unharmed.
func TestFailingHooks(t *testing.T) {
	for how, want := range map[string]string{
		"error": "returned -5 (EIO)", "positive": "returned 1, which is neither",
		"null": "SIGSEGV at address 0x0",
		"ud2":  "SIGILL", "stack": "the guard of its stack (a hook has 124 KiB)",
		"leap": "the guard of its stack",
		"hang": "still running after 200ms (--pie-timeout)", "exit": "called exit_group(7)",
		"exit1": "called exit(7)",
		"exec":  "called execve",
	} {
		for _, at := range []stage.Stage{stage.PostFiles, stage.PreSigreturnThread} {
			t.Run(how+"/"+at.String(), func(t *testing.T) {
				victim := testenv.Start(t, "threads", "3")
				name := strings.TrimPrefix(at.String(), "PIE_RST_")
				got := order{Pid: victim.Pid, Limit: 200 * time.Millisecond,
					Plugin: testenv.Plugin(t, failSource) + ",how=" + how + ",stage=" +
						name}.carryOut(t)
				if hook := got.Hook; !strings.Contains(hook.Cause, want) || hook.Hook != at ||
					hook.Location.File == "" || hook.Location.Line == 0 {
					t.Errorf("%s, %+v", got.Error, hook)
				}
				victim.MustPass(t)
			})
		}
	}
}

// A stopped process is stopped afterwards.
func TestStoppedStaysStopped(t *testing.T) {
	victim := testenv.Start(t, "threads")
	stop(t, victim.Pid)
	for range 10 {
		attach(t, victim.Pid, order{})
		awaitStopped(t, victim.Pid)
	}
	if err := syscall.Kill(victim.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	victim.MustPass(t)
}

func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, pid)
}

func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); stateOf(t, pid) != "T"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not stopped")
		}
	}
}

func stateOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return statFields(string(text))[3]
}

// What cannot be traced is refused by its name.
func TestRefusedProcesses(t *testing.T) {
	plugin := testenv.Plugin(t, traceSource)
	for pid, want := range map[int]string{1<<22 + 1: "there is no such process"} {
		if got := (order{Pid: pid, Plugin: plugin}).carryOut(t); !strings.Contains(got.Error, want) {
			t.Errorf("got %q, want %q", got.Error, want)
		}
	}
	victim := testenv.Start(t, "static")
	holder := order{Pid: victim.Pid, Plugin: testenv.Plugin(t, failSource) + ",stage=POST_FILES,how=hang", Limit: 0}
	cmd := holder.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for end := time.Now().Add(testenv.Timeout); tracerOf(t, victim.Pid) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody traces it")
		}
	}
	want := fmt.Sprintf("thread %d is traced by process", victim.Pid)
	if got := (order{Pid: victim.Pid, Plugin: plugin}).carryOut(t); !strings.Contains(got.Error, want) {
		t.Errorf("got %q, want %q", got.Error, want)
	}
}

func tracerOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return parseStatus(string(text)).number("TracerPid")
}

func expect(err error, text string) error {
	if err == nil || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("got %v, want %q", err, text)
	}
	return nil
}

// testProgram compiles a small program.
func testProgram(t *testing.T, flags ...string) string {
	t.Helper()
	return compileText(t, programSource, flags...)
}

const programSource = `#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static volatile int got;
static void handler(int sig) { got += sig; }
__attribute__((noinline)) int sum(int a, int b, int c, int d) { return a + b + c + d + got; }
int main(int argc, char **argv)
{
	struct sigaction trap;
	if (argc != 3 || strcmp(argv[1], "first") || strcmp(argv[2], "second"))
		return 1;
	signal(SIGTRAP, SIG_IGN);
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	printf("rea");
	fflush(stdout);
	printf("dy\n");
	fflush(stdout);
	usleep(20000);
	if (sum(1, 2, 3, 4) != 10 + SIGUSR1)
		return 2;
	sigaction(SIGTRAP, NULL, &trap);
	return trap.sa_handler == SIG_IGN ? 42 : 3;
}
`

// Programs of each kind are stopped at each moment, and end as they would have.
func TestMoments(t *testing.T) {
	plugins := load(t, testenv.Plugin(t, traceSource))
	kinds := map[string][]string{"pie": {"-pie", "-fPIE"}, "no-pie": {"-no-pie"}, "static": {"-static"},
		"static-pie": {"-static-pie", "-fPIE"}, "stripped": {"-s"}, "stripped static": {"-s", "-static"}}
	for kind, flags := range kinds {
		path := testProgram(t, flags...)
		for _, text := range []string{"entry", "main", "10ms", "signal:USR1", "function:sum", "output:ready"} {
			t.Run(kind+"/"+text, func(t *testing.T) {
				at, err := ParseMoment(text)
				if err != nil {
					t.Fatal(err)
				}
				pid, done, err := Spawn(t.Context(),
					&Program{Path: path, Args: []string{"program", "first", "second"},
						Env: os.Environ(), At: at}, &Options{Plugins: plugins,
						StopTimeout: testenv.Timeout})
				if strings.HasPrefix(kind, "stripped") && text == "function:sum" {
					if err := expect(err, `has a symbol of function "sum"`); err != nil {
						t.Error(err)
					}
					return
				}
				if kind == "stripped static" && text == "main" {
					if err := expect(err, "give --at entry"); err != nil {
						t.Error(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(done.Processes[0].Calls) != 7 || done.Processes[0].At != at.String() {
					t.Errorf("%+v", done.Processes[0])
				}
				if status := waitFor(t, pid); status != 42 {
					t.Errorf("its status is %d", status)
				}
			})
		}
	}
}

func waitFor(t *testing.T, pid int) int {
	t.Helper()
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// A program that ends before its moment is reported, and one whose hook fails is gone.
func TestSpawnFails(t *testing.T) {
	path := testProgram(t)
	for text, want := range map[string]string{
		"output:never": "the program ended with status 42 before --at output:never",
		"signal:HUP":   "the program ended with status 42 before --at signal:SIGHUP",
		"main":         "returned -5 (EIO)",
	} {
		at, err := ParseMoment(text)
		if err != nil {
			t.Fatal(err)
		}
		pid, _, err := Spawn(t.Context(), &Program{Path: path, Args: []string{"program", "first", "second"},
			Env: os.Environ(), At: at}, &Options{Plugins: load(t,
			testenv.Plugin(t, failSource)+",stage=POST_MEMORY"),
			StopTimeout: testenv.Timeout})
		if err := expect(err, want); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	_, _, err := Spawn(t.Context(), &Program{Path: "/etc/passwd", Args: []string{"x"}}, &Options{})
	if err := expect(err, "try: execute /etc/passwd: permission denied"); err != nil {
		t.Error(err)
	}
}

// The thread that traces has ended when its work is done: it holds nobody that it could not let go.
func TestTracerHasEnded(t *testing.T) {
	for range 200 {
		tid := 0
		_ = asTracer(testenv.Timeout, func() error {
			tid = unix.Gettid()
			return nil
		})
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err == nil {
			t.Fatalf("thread %d is there", tid)
		}
	}
}
