package mem

import (
	"testing"

	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Without MAP_DROPPABLE states of getrandom get private memory, which the flags of the images would not allow to be
// mapped.
func TestStatesOnOldKernels(t *testing.T) {
	for droppable, want := range map[bool]uint64{
		true:  uapi.MapDroppable | uapi.MapAnonymous | uapi.MapFixedNoreplace,
		false: uapi.MapPrivate | uapi.MapAnonymous | uapi.MapNoreserve | uapi.MapFixedNoreplace,
	} {
		m := &space{Room: &Room{Job: &job.Job{Host: &host.Host{Droppable: func() bool { return droppable }}}}}
		if got := m.droppable(); got != want {
			t.Errorf("droppable %v: flags %#x, want %#x", droppable, got, want)
		}
	}
}
