//go:build linux && amd64

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A program reads from --dry-run --format json what there is and what would be done; nothing is done.
func TestDryRunAsJSON(t *testing.T) {
	im := testenv.Start(t, "unix").Dump(t)
	trace := testenv.Plugin(t, "plugin-sdk/examples/trace.c")
	status, output := tool(t, im, "restore", "--dry-run", "-D", im.Dir, "--format", "json", "--pie-plugin", trace)
	if status != exitOK {
		t.Fatalf("exit status %d\n%s", status, output)
	}
	var d struct {
		SchemaVersion int `json:"schema_version"`
		Tasks         []struct {
			Pid, Mappings, Descriptors, Sockets int
			Comm                                string
			Threads                             []int
			Hooks                               []struct {
				Stage   string
				Plugins []string
			}
		}
		Programs []struct {
			Task, Thread int
			Operations   []struct {
				Call, Result string
				Args         []string
			}
		}
	}
	if err := json.Unmarshal([]byte(output), &d); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if d.SchemaVersion != 1 || len(d.Tasks) == 0 || len(d.Programs) != 1+len(d.Tasks) {
		t.Fatalf("version %d, %d tasks, %d programs", d.SchemaVersion, len(d.Tasks), len(d.Programs))
	}
	task, program := d.Tasks[0], d.Programs[1]
	if task.Pid != im.Pid || task.Comm != "unix" || !slices.Equal(task.Threads, []int{im.Pid}) ||
		task.Mappings == 0 || task.Sockets == 0 ||
		task.Descriptors <= task.Sockets {
		t.Errorf("task %+v", task)
	}
	if len(task.Hooks) == 0 || task.Hooks[0].Stage != "PIE_RST_TASK_CREATED" ||
		!slices.Equal(task.Hooks[0].Plugins, []string{"trace"}) {
		t.Errorf("hooks %+v", task.Hooks)
	}
	opened := slices.ContainsFunc(program.Operations, func(op struct {
		Call, Result string
		Args         []string
	}) bool {
		return op.Call == "openat" && op.Args[0] == "AT_FDCWD" && strings.HasPrefix(op.Args[1], `"/`) &&
			op.Result != ""
	})
	if program.Task != im.Pid || program.Thread != im.Pid || !opened {
		t.Errorf("program %+v", program)
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("processes: %v", left)
	}
}
