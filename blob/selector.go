package blob

import (
	"fmt"
	"strconv"
	"strings"
)

// Selector picks tasks of a tree. The zero Selector picks every one.
type Selector struct {
	Root bool   // only the root task
	Pid  uint32 // if not 0: only the task with this pid
	Comm string // if not empty: only tasks with this name, PR_SET_NAME of prctl(2)
}

// ParseSelector reads "all", "root", "pid:12" or "12", "comm:worker" or "worker".
func ParseSelector(text string) (Selector, error) {
	kind, rest, found := strings.Cut(text, ":")
	switch {
	case text == "all":
		return Selector{}, nil
	case text == "root":
		return Selector{Root: true}, nil
	case found && kind == "comm" && rest != "":
		return Selector{Comm: rest}, nil
	case found && kind == "pid":
		return parsePid(text, rest)
	case text == "" || found && kind == "comm":
		return Selector{}, fmt.Errorf("selector %q names no task; write root, pid:N, comm:NAME or all", text)
	}
	if strings.Trim(text, "0123456789") == "" {
		return parsePid(text, text)
	}
	return Selector{Comm: text}, nil
}

func parsePid(text, number string) (Selector, error) {
	pid, err := strconv.ParseUint(number, 10, 31)
	if err != nil || pid == 0 {
		return Selector{}, fmt.Errorf("selector %q: %q is not a pid", text, number)
	}
	return Selector{Pid: uint32(pid)}, nil
}

// String spells it as ParseSelector reads it.
func (s Selector) String() string {
	switch {
	case s.Root:
		return "root"
	case s.Pid != 0:
		return fmt.Sprintf("pid:%d", s.Pid)
	case s.Comm != "":
		return "comm:" + s.Comm
	}
	return "all"
}

// Picks reports whether a task is one of those meant.
func (s Selector) Picks(pid uint32, comm string, root bool) bool {
	return (!s.Root || root) && (s.Pid == 0 || s.Pid == pid) && (s.Comm == "" || s.Comm == comm)
}
