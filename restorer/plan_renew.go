package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/renew"
)

// renewedOf gives the mappings of a task that come back as fresh memory, so that no two restored processes draw the same keys.
func (r *memRoom) renewedOf(t *images.Task) map[*pb.VmaEntry]renew.Kind {
	if _, known := r.renewed[t.Pid]; !known {
		r.renewed[t.Pid] = renew.Find(r.dir, t, renew.Keep{VGetrandom: r.opts.KeepVgetrandom, WipeOnFork: r.opts.KeepWipeOnFork})
	}
	return r.renewed[t.Pid]
}

// noteRenewed says what of the task is not as it was.
func (m *memoryPlanner) noteRenewed() {
	for _, v := range m.img.Mm.GetVmas() {
		switch m.renewed[v] {
		case renew.VGetrandom:
			m.note(v, "state of the vDSO's getrandom, renewed (--keep-vgetrandom leaves it)")
		case renew.WipeOnFork:
			m.note(v, "marked with MADV_WIPEONFORK, wiped (--keep-wipeonfork leaves it)")
		}
	}
}

func (m *memoryPlanner) note(v *pb.VmaEntry, what string) {
	m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%s: %s", m.vmaWhere(v), what))
}

// droppable are the flags of memory for states of getrandom. A kernel without MAP_DROPPABLE has no getrandom in its vDSO either.
func (m *memoryPlanner) droppable() uint64 {
	if m.host.Droppable {
		return mapDroppable | mapAnonymous | mapFixedNoreplace
	}
	return mapPrivate | mapAnonymous | mapNoreserve | mapFixedNoreplace
}

// adviceOf gives the lasting advice of a mapping. The kernel gives droppable memory its own.
func (m *memoryPlanner) adviceOf(v *pb.VmaEntry) uint64 {
	if m.renewed[v] == renew.VGetrandom {
		return renew.Dontdump | renew.Wipe
	}
	return v.GetMadv()
}
