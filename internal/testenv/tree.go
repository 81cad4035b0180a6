//go:build linux

package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Threads lists the ids of all living threads of a process and its descendants, proc_pid_task(5); true: it leads its
// task.
func Threads(pid int) map[int]bool {
	all := map[int]bool{}
	for _, task := range append(family(pid), pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", task))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			continue
		}
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", task))
		for _, e := range entries {
			if tid, err := strconv.Atoi(e.Name()); err == nil {
				all[tid] = tid == task
			}
		}
	}
	return all
}

// PSS is the memory that a process and its descendants need together, KiB: shared pages count once, proc_pid_smaps(5).
func PSS(tb testing.TB, pid int) int {
	tb.Helper()
	total := 0
	for _, task := range append(family(pid), pid) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", task))
		if err != nil {
			continue // a zombie has none
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, _ := strconv.Atoi(strings.Fields(rest)[0])
				total += kib
			}
		}
	}
	if total == 0 {
		tb.Fatalf("process %d has no memory", pid)
	}
	return total
}
