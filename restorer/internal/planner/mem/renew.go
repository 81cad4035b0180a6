package mem

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/uapi"
)

// renewedOf gives the mappings of a task that come back as fresh memory, so that no two restored processes draw the
// same keys.
func (r *Room) renewedOf(t *images.Task) map[*pb.VmaEntry]renew.Kind {
	if _, known := r.renewed[t.Pid]; !known {
		r.renewed[t.Pid] = renew.Find(r.Dir, t, renew.Keep{VGetrandom: r.Opts.KeepVgetrandom,
			WipeOnFork: r.Opts.KeepWipeOnFork})
	}
	return r.renewed[t.Pid]
}

// noteRenewed says what of the task is not as it was.
func (m *space) noteRenewed() {
	for _, v := range m.Img.Mm.GetVmas() {
		switch m.renewed[v] {
		case renew.VGetrandom:
			m.note(v, "state of the vDSO's getrandom, renewed (--keep-vgetrandom leaves it)")
		case renew.WipeOnFork:
			m.note(v, "marked with MADV_WIPEONFORK, wiped (--keep-wipeonfork leaves it)")
		}
	}
}

func (m *space) note(v *pb.VmaEntry, what string) {
	m.Plan.Notes = append(m.Plan.Notes, fmt.Sprintf("%s: %s", m.vmaWhere(v), what))
}

// droppable are the flags of memory for states of getrandom. A kernel without MAP_DROPPABLE has no getrandom in its
// vDSO either.
func (m *space) droppable() uint64 {
	if m.Host.Droppable() {
		return uapi.MapDroppable | uapi.MapAnonymous | uapi.MapFixedNoreplace
	}
	return uapi.MapPrivate | uapi.MapAnonymous | uapi.MapNoreserve | uapi.MapFixedNoreplace
}

// adviceOf gives the lasting advice of a mapping. The kernel gives droppable memory its own.
func (m *space) adviceOf(v *pb.VmaEntry) uint64 {
	if m.renewed[v] == renew.VGetrandom {
		return renew.Dontdump | renew.Wipe
	}
	return v.GetMadv()
}
