package refuse

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/refusal"
)

// Collector gathers problems; nothing stops at the first one.
type Collector struct {
	Verb refusal.Verb
	list []refusal.Problem
}

// Refuse adds a problem. Each part is one line, whatever names are in it.
func (c *Collector) Refuse(where, fix, format string, args ...any) {
	p := refusal.Problem{Where: escape.Name(where), What: escape.Name(fmt.Sprintf(format, args...)),
		Fix: escape.Name(fix)}
	c.list = append(c.list, p)
}

// Fail adds a problem that an error words.
func (c *Collector) Fail(where, fix string, err error) {
	c.Refuse(where, fix, "%v", err)
	c.list[len(c.list)-1].Err = err
}

// Add takes over what another one has gathered.
func (c *Collector) Add(other *Collector) { c.list = append(c.list, other.list...) }

// MergeTasks says once what was said of several tasks, or of threads of several, in the place of the first.
func (c *Collector) MergeTasks() {
	first, more := map[refusal.Problem]int{}, map[int]int{}
	var kept []refusal.Problem
	for _, p := range c.list {
		same := p
		same.Where, same.Err = withoutNumber(p.Where), nil
		if at, known := first[same]; known && same.Where != p.Where {
			more[at]++
			continue
		}
		first[same] = len(kept)
		kept = append(kept, p)
	}
	for at, n := range more {
		kept[at].Where += fmt.Sprintf(" (and %d more)", n)
	}
	c.list = kept
}

// withoutNumber gives the kind of a place that is a task or a thread of one: "task 12", "task 12 thread 13".
func withoutNumber(where string) string {
	words := strings.Fields(where)
	for i, word := range words {
		if i%2 == 1 && strings.Trim(word, "0123456789") == "" {
			words[i] = ""
		}
	}
	switch kind := strings.Join(words, " "); kind {
	case "task ", "task  thread ":
		return kind
	}
	return where
}

// Len counts the refusals so far.
func (c *Collector) Len() int { return len(c.list) }

// Err is nil or a *refusal.Refusal.
func (c *Collector) Err() error {
	if c.Len() == 0 {
		return nil
	}
	return &refusal.Refusal{Verb: c.Verb, Problems: c.list}
}
