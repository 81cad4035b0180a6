package restorer

import "testing"

// Without MAP_DROPPABLE states of getrandom get private memory, which the flags of the images would not allow to be mapped.
func TestStatesOnOldKernels(t *testing.T) {
	for droppable, want := range map[bool]uint64{
		true:  mapDroppable | mapAnonymous | mapFixedNoreplace,
		false: mapPrivate | mapAnonymous | mapNoreserve | mapFixedNoreplace,
	} {
		m := &memoryPlanner{memRoom: &memRoom{job: &job{host: &Host{Droppable: droppable}}}}
		if got := m.droppable(); got != want {
			t.Errorf("droppable %v: flags %#x, want %#x", droppable, got, want)
		}
	}
}
