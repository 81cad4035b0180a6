package restorer

import (
	"fmt"
	"strings"
)

// Refusal lists everything about a checkpoint or this host that a restore cannot work with. No process was created.
type Refusal struct {
	Problems []Problem
}

// Problem is one reason not to restore.
type Problem struct {
	Where string // "task 12 fd 3", "this host"
	What  string // the reason
	Fix   string // what to do about it; may be empty
}

func (p Problem) String() string {
	s := p.Where + ": " + p.What
	if p.Fix != "" {
		s += "\n  hint: " + p.Fix
	}
	return s
}

func (r *Refusal) Error() string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return "cannot restore: " + lines[0]
	}
	return fmt.Sprintf("cannot restore, for %d reasons:\n%s", len(lines), strings.Join(lines, "\n"))
}

// problems collects while a plan is made; nothing stops at the first one.
type problems struct{ list []Problem }

func (p *problems) refuse(where, fix, format string, args ...any) {
	p.list = append(p.list, Problem{where, fmt.Sprintf(format, args...), fix})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Refusal{p.list}
}
