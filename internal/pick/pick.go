// Package pick finds the tasks of a tree that selectors mean, for restores and grafts alike. It makes no system call.
package pick

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/refuse"
)

// Tasks gives the pids of the living tasks that some selector picks; without any selector, of all living tasks. A
// selector that picks none is a problem, where names it.
func Tasks(c *refuse.Collector, where string, tasks []*images.Task, selectors []blob.Selector) map[uint32]bool {
	picked := map[uint32]bool{}
	if len(selectors) == 0 {
		for _, t := range tasks {
			picked[t.Pid] = !t.Dead()
		}
	}
	for _, s := range selectors {
		found := false
		for _, t := range tasks {
			if !t.Dead() && s.Picks(t.Pid, t.Core.GetTc().GetComm(), t.Parent == nil) {
				picked[t.Pid], found = true, true
			}
		}
		if !found {
			c.Refuse(where+s.String(), "", "picks no living task; there are %s", list(tasks))
		}
	}
	return picked
}

const longest = 20 // tasks to name in a message

// list names living tasks for a message; a name is quoted, because a process may put any bytes into its own.
func list(tasks []*images.Task) string {
	var names []string
	living := 0
	for _, t := range tasks {
		if t.Dead() {
			continue
		}
		if living++; living <= longest {
			names = append(names, fmt.Sprintf("%d %q", t.Pid, t.Core.GetTc().GetComm()))
		}
	}
	switch {
	case living == 0:
		return "none"
	case living > longest:
		names = append(names, fmt.Sprintf("and %d more", living-longest))
	}
	return strings.Join(names, ", ")
}
