package refuse

import (
	"fmt"

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

// Add takes over what another one has gathered.
func (c *Collector) Add(other *Collector) { c.list = append(c.list, other.list...) }

// Len counts the refusals so far.
func (c *Collector) Len() int { return len(c.list) }

// Err is nil or a *refusal.Refusal.
func (c *Collector) Err() error {
	if c.Len() == 0 {
		return nil
	}
	return &refusal.Refusal{Verb: c.Verb, Problems: c.list}
}
