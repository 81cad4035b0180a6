package restorer

import (
	"github.com/crpie/crpie/internal/refusal"
)

// Refusal lists everything about a checkpoint or this host that a restore cannot work with. No process was created.
type Refusal = refusal.Refusal

// Problem is one reason not to restore.
type Problem = refusal.Problem
