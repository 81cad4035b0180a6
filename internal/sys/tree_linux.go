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
// Kernels without CONFIG_PROC_CHILDREN have no such files: then it asks all processes for their parents.
func Children(pid PID) (pids []PID) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return childrenByParent(pid)
	}
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

// childrenByParent finds the children of a process among all that there are.
func childrenByParent(pid PID) (pids []PID) {
	list, _ := os.ReadDir("/proc")
	for _, process := range list {
		child, err := strconv.Atoi(process.Name())
		if err == nil && parent(PID(child)) == pid {
			pids = append(pids, PID(child))
		}
	}
	return pids
}

// parent reads a process's parent, proc_pid_stat(5); Nobody if it has ended. The name before it may have parentheses.
func parent(pid PID) PID {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return Nobody
	}
	number, _ := strconv.Atoi(fields[1])
	return PID(number)
}
