//go:build linux && amd64

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/testenv"
)

// comms gives the living tasks of a dump by their names then: they may have been about to execute another program.
func comms(t *testing.T, im *testenv.Images) map[string][]int {
	t.Helper()
	dir, err := images.Open(os.DirFS(im.Dir))
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string][]int{}
	for _, task := range dir.Tasks {
		if name := task.Core.GetTc().GetComm(); !task.Dead() {
			tasks[name] = append(tasks[name], int(task.Pid))
		}
	}
	return tasks
}

// A plugin's hooks run at all stages of the tasks that it selects, and at none of the others.
func TestRestoreSelects(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "pipeline").Dump(t)
	plugin := trace(t)
	tasks := comms(t, im)
	child := tasks["cat"][0]
	for selectors, want := range map[string][]int{
		"select=root":                       {im.Pid},
		fmt.Sprintf("select=pid:%d", child): {child},
		"select=comm:cat":                   tasks["cat"],
		fmt.Sprintf("select=comm:sleep,who=me,select=%d", im.Pid): append([]int{im.Pid}, tasks["sleep"]...),
	} {
		p, output := restore(t, im, "-v3", "--pie-plugin", plugin+","+selectors)
		got := stagesLogged(output)
		slices.Sort(want)
		if tids := slices.Sorted(maps.Keys(got)); !slices.Equal(tids, want) {
			t.Errorf("%s: hooks ran in %v, want %v", selectors, tids, want)
		}
		for tid, stages := range got {
			if !slices.Equal(stages, stageOrder) {
				t.Errorf("%s: task %d: stages %v", selectors, tid, stages)
			}
		}
		p.MustPass(t)
	}
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", plugin+",select=comm:nobody")
	want := fmt.Sprintf("crpie: cannot restore: plugin trace select=comm:nobody: picks no living task; there are %d \"bash\", ", im.Pid)
	if status != exitFailed || !strings.HasPrefix(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
}

// Two plugins in one tree, each in tasks of its own; what no plugin selects is not grafted.
func TestGraftSelects(t *testing.T) {
	testenv.NeedCRIU(t)
	im := startSource(t, "family").Dump(t)
	pids := descendants(t, im.Dir)
	late := traced(t)[1]
	p := graftOnto(t, im, "--allow-skipped-stages", "-v3", "--pie-plugin", late+",select=root", "--pie-plugin",
		fmt.Sprintf("%s,select=pid:%d,select=root", late, pids[7])).RestoreCRIU(t)
	p.MustPass(t)
	for pid, want := range map[int]int{pids[0]: 2, pids[7]: 1, pids[3]: 0} {
		if n := strings.Count(p.Output(), fmt.Sprintf("stage=PRE_SIGRETURN pid=%d ", pid)); n != want {
			t.Errorf("hooks ran %d times in task %d, want %d:\n%s", n, pid, want, p.Output())
		}
	}
	if n := strings.Count(p.Output(), "stage=PRE_SIGRETURN pid="); n != 3 {
		t.Errorf("hooks ran %d times, want 3:\n%s", n, p.Output())
	}
}

func TestPluginSpecs(t *testing.T) {
	for spec, want := range map[string]string{
		`hook.o,a=1,select=root,b=x\,y,select=7`: "hook.o [{a 1  false} {b x,y  false}] [root pid:7]",
		`hook\,1.o`:                              "hook,1.o [] []",
		"hook.o,select=pid:x":                    `--pie-plugin hook.o,select=pid:x: selector "pid:x": "x" is not a pid`,
		"hook.o,select":                          `--pie-plugin hook.o,select: selector "" names no task; write root, pid:N, comm:NAME or all`,
		"hook.o,=1":                              `--pie-plugin hook.o,=...: a parameter has no name; write key=value`,
		",a=1":                                   `--pie-plugin ",a=...": give the object file first`,
	} {
		path, in, err := pluginspec.Parse(spec)
		got := fmt.Sprint(path, " ", in.Params, " ", in.Tasks)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", spec, got, want)
		}
	}
}
