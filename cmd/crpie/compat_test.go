//go:build linux && amd64

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A 32-bit task, which CRIU dumps and restores, is refused by name.
func TestCompatTask(t *testing.T) {
	testenv.NeedCRIU(t)
	exe := filepath.Join(t.TempDir(), "compat")
	source := filepath.Join(testenv.Root(), "testdata", "victims", "compat.c")
	out, err := exec.Command(testenv.NeedTool(t, "gcc"), "-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie",
		"-O1", "-Wall",
		"-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-o", exe, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	im := testenv.StartCommand(t, "compat", exe).Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	want := fmt.Sprintf("task %d thread %d: 32-bit (compat) task: not supported\n", im.Pid, im.Pid)
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("crpie restore: status %d\n%s\nwant %s", status, output, want)
	}
	status, output = told(t, "graft", "-D", im.Dir, "-o", filepath.Join(t.TempDir(), "grafted"), "--pie-plugin",
		trace(t), "--allow-skipped-stages")
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("crpie graft: status %d\n%s\nwant %s", status, output, want)
	}
	im.RestoreCRIU(t).MustPass(t)
}
