//go:build linux && amd64

package restorer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// capturedPlugin does in a worker what somebody could who has captured it.
func capturedPlugin(t *testing.T) *loader.Plugin {
	t.Helper()
	object := testenv.Plugin(t, "testdata/attackers/captured.c", "-I",
		filepath.Join(testenv.Root(), "restorer", "core", "src"))
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := loader.Parse(data, "captured.o", loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

// captured prepares a restore of workers with that plugin.
func captured(t *testing.T, im *testenv.Images, plugin *loader.Plugin, params ...string) *Prepared {
	t.Helper()
	im.Reset(t)
	in := blob.Input{Plugin: plugin}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		in.Params = append(in.Params, blob.Param{Key: key, Value: value})
	}
	r, err := Prepare(&Options{
		Images: im.Dir, Plugins: []blob.Input{in}, Plan: PlanOptions{Readers: -1, LogLevel: 3},
		Run: RunOptions{HookTimeout: time.Second, Timeout: time.Second, Log: func(report.Line) {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// survives: whatever a worker reports, the restore succeeds or is undone within its limits.
func survives(t *testing.T, im *testenv.Images, r *Prepared, what string) (err error) {
	t.Helper()
	before, begun := children(t), time.Now()
	_, err = r.Run(t.Context())
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("%s: it took %v", what, took)
	}
	if err == nil {
		im.Adopt(t).MustPass(t)
		return nil
	}
	if left := im.Leftovers(); len(left) > 0 || children(t) != before {
		t.Fatalf("%s: %v: left behind: %v, children %q, before the restore %q", what, err, left, children(t),
			before)
	}
	return err
}

var lateStages = []stage.Stage{stage.PostMemory, stage.PreCreds, stage.PreSigreturn}

// shared memory, and the task's own

func stageName(h stage.Stage) string { return strings.TrimPrefix(h.String(), "PIE_RST_") }

// A hook overwrites every word of what its task reports.
func TestGarbageInReports(t *testing.T) {
	im, plugin := testenv.Start(t, "workers", "1").Dump(t), capturedPlugin(t)
	for _, at := range lateStages {
		failed := 0
		for word := range (abi.SharedSize + abi.StatusSize) / 8 {
			for _, value := range []uint64{0, 1, 1 << 31, 1<<64 - 1, 0x5a5a5a5a5a5a5a5a} {
				what := fmt.Sprintf("%v: word %d = %#x", at, word, value)
				r := captured(t, im, plugin, "stage="+stageName(at), "how=word",
					fmt.Sprint("word=", word), fmt.Sprint("value=", value))
				if survives(t, im, r, what) != nil {
					failed++
				}
				r.Close()
			}
		}
		if failed == 0 {
			t.Errorf("%v: no garbage was noticed", at)
		}
	}
}

// A hook fills the log with garbage.
func TestGarbageInLog(t *testing.T) {
	im, plugin := testenv.Start(t, "workers", "1").Dump(t), capturedPlugin(t)
	for _, at := range lateStages {
		for _, value := range []uint64{0, 1, 32, 40<<32 | 40, 1<<64 - 1} {
			r := captured(t, im, plugin, "stage="+stageName(at), "how=log", fmt.Sprint("value=", value))
			if err := survives(t, im, r, fmt.Sprintf("%v: log of %#x", at, value)); err != nil {
				t.Errorf("%v: log of %#x: %v", at, value, err)
			}
			r.Close()
		}
	}
}

// A task that reports nothing any more, and one that never stops reporting, end the restore in time.
func TestTaskNeverReports(t *testing.T) {
	im, plugin := testenv.Start(t, "workers", "1").Dump(t), capturedPlugin(t)
	for _, tc := range []struct {
		stage stage.Stage
		how   string
		want  string
	}{
		{stage.PostMemory, "silent", "restore: nothing has moved for 1s (--progress-timeout): task %d"},
		{stage.PreSigreturn, "silent",
			"restore: the tasks are not done 1s after they could have been (--progress-timeout): task %d"},
		{stage.PreSigreturn, "busy", "restore: the tasks are not done 1s after they could have been (--progress-timeout): task %d"},
	} {
		r := captured(t, im, plugin, "stage="+stageName(tc.stage), "how="+tc.how)
		err := survives(t, im, r, tc.how)
		want := fmt.Sprintf(tc.want, r.plan.Tasks[1].Pid)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, %s: error %v, want %q", tc.stage, tc.how, err, want)
		}
	}
}
