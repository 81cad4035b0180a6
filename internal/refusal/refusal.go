package refusal

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/escape"
)

// Verb says what is refused.
type Verb int

// What may be refused.
const (
	Restore Verb = iota
	Graft
)

func (v Verb) String() string     { return [...]string{"restore", "graft"}[v] }
func (v Verb) participle() string { return [...]string{"restored", "grafted"}[v] }

// Problem is one reason not to do it.
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

// Refusal lists all reasons, in the order in which they were found.
type Refusal struct {
	Verb     Verb
	Problems []Problem
}

func (r *Refusal) Error() string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return fmt.Sprintf("cannot %s: %s", r.Verb, lines[0])
	}
	return fmt.Sprintf("cannot %s, for %d reasons:\n%s", r.Verb, len(lines), strings.Join(lines, "\n"))
}

// Collector gathers problems; nothing stops at the first one.
type Collector struct {
	Verb Verb
	list []Problem
}

// Refuse adds a problem. Each part is one line, whatever names are in it.
func (c *Collector) Refuse(where, fix, format string, args ...any) {
	c.list = append(c.list, Problem{escape.Name(where), escape.Name(fmt.Sprintf(format, args...)), escape.Name(fix)})
}

// Len counts what has been refused so far.
func (c *Collector) Len() int { return len(c.list) }

// Err is nil or a *Refusal.
func (c *Collector) Err() error {
	if c.Len() == 0 {
		return nil
	}
	return &Refusal{c.Verb, c.list}
}
