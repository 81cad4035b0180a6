//go:build linux && amd64

package inject

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// An order is carried out in a process of its own: this one waits for the victims, and a wait of any thread takes what
// the tracer waits for, wait(2).
type order struct {
	Pid                   int
	Tree                  bool
	Plugin                string // as --pie-plugin names it
	Stages                []stage.Stage
	Limit                 time.Duration
	Trace, Diff, Rehearse bool
	Leave                 Leave
	Times                 int // 0: once
	Step                  int // of faults, see faults_linux_test.go
	Die                   bool
}

// outcome is what came of it.
type outcome struct {
	Report *Report
	Log    []report.Line
	Error  string
	Hook   report.HookError
	Steps  int
	Pauses []time.Duration // of the first process, each time
}

const orderVariable = "CRPIE_TEST_ORDER"

func TestMain(m *testing.M) {
	text := os.Getenv(orderVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(o.obey())
	}
	if err != nil {
		panic(err)
	}
}

func (o order) obey() (got outcome) {
	plugins, err := pluginspec.Load([]string{o.Plugin}, trust.Rule{})
	steps, done := faultAt(o)
	defer done()
	for range max(o.Times, 1) {
		if err == nil {
			got.Log = nil
			opts := &Options{Plugins: plugins, Stages: o.Stages, HookTimeout: o.Limit, Trace: o.Trace,
				Diff: o.Diff, Rehearse: o.Rehearse, Leave: o.Leave, StopTimeout: testenv.Timeout,
				LogLevel: report.LogDebug,
				Log:      func(line report.Line) { got.Log = append(got.Log, line) }}
			got.Report, err = Attach(context.Background(), o.Pid, o.Tree, opts)
			if got.Report != nil && len(got.Report.Processes) > 0 {
				got.Pauses = append(got.Pauses, got.Report.Processes[0].Paused)
			}
		}
	}
	got.Steps = *steps
	if err != nil {
		got.Error = err.Error()
	}
	if hook := (*report.HookError)(nil); errors.As(err, &hook) {
		got.Hook = *hook
	}
	return got
}

func (o order) command(t testing.TB) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

func (o order) carryOut(t testing.TB) (got outcome) {
	t.Helper()
	out, err := o.command(t).Output()
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

func compile(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(testenv.NeedTool(t, "gcc"), args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
}
