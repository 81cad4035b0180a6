package restorer

import "github.com/crpie/crpie/internal/refusal"

// Refusal lists everything about a checkpoint or this host that a restore cannot work with. No process was created.
type Refusal = refusal.Refusal

// Problem is one reason not to restore.
type Problem = refusal.Problem

// problems collects while a plan is made; nothing stops at the first one.
type problems struct{ refusal.Collector }

func (p *problems) refuse(where, fix, format string, args ...any) {
	p.Refuse(where, fix, format, args...)
}

func (p *problems) err() error { return p.Err() }
