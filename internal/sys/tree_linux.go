package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Threads lists the threads of a process, none if it has been collected.
func Threads(pid PID) (tids []PID) {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range list {
		if tid, err := strconv.Atoi(thread.Name()); err == nil {
			tids = append(tids, PID(tid))
		}
	}
	return tids
}

// Children reads /proc/PID/task/TID/children of all threads, proc_tid_children(5). A process that has ended has none.
func Children(pid PID) (pids []PID) {
	for _, thread := range Threads(pid) {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, thread))
		for word := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, PID(child))
			}
		}
	}
	return pids
}
