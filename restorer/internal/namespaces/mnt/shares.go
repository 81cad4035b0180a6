package mnt

import (
	"cmp"
	"slices"

	"github.com/crpie/crpie/internal/uapi"
)

// Between which mounts of the tree others propagate, mount_namespaces(7). While the tree is built all are private, for
// else each attachment would appear in all peers; groups are made when it stands, masters before their slaves.

// share is one step of that.
type share struct {
	from *mount // nil: none; of whose groups the mount becomes a member
	to   *mount
	// what is set then, in this order
	slave, shared, unbindable bool
}

// sharer makes the steps.
type sharer struct {
	*reader
	peers map[uint32][]*mount // by shared_id
	state map[uint32]int      // of the groups
}

// States of a group.
const (
	begun = 1 + iota
	done
)

// findShares plans the propagation, mount_namespaces(7): peers by their group, slaves by their master, and unbindable
// mounts at the end, because others may be bound to them before.
func (r *reader) findShares() {
	s := sharer{reader: r, peers: map[uint32][]*mount{}, state: map[uint32]int{}}
	for _, m := range r.p.mounts {
		if id := m.img.GetSharedId(); id != 0 {
			s.peers[id] = append(s.peers[id], m)
		}
	}
	for _, m := range r.p.mounts {
		if id := m.img.GetSharedId(); id != 0 {
			s.group(id)
		} else if m.img.GetMasterId() != 0 {
			s.follow(m, false)
		}
	}
	for _, m := range r.p.mounts {
		if m.img.GetFlags()&uapi.MsUnbindable != 0 {
			r.p.shares = append(r.p.shares, share{to: m, unbindable: true})
		}
	}
}

// group makes a group of peers: the first is the one of which the others show parts, as MOVE_MOUNT_SET_GROUP wants.
func (s *sharer) group(id uint32) {
	if s.state[id] != 0 {
		return
	}
	s.state[id] = begun
	defer func() { s.state[id] = done }()
	first := widest(s.peers[id])
	if !showsAll(first, s.peers[id]) {
		s.peers[id][0].refuse("", "none of its peers (group %d) shows all that the others show: not supported", id)
		return
	}
	switch {
	case first.img.GetMasterId() != 0:
		s.follow(first, true)
	case first.kind == external && !first.img.GetInternalSharing():
		s.keepPeers(first)
		fallthrough
	default:
		s.add(share{to: first, shared: true})
	}
	for _, m := range s.peers[id] {
		if m != first {
			s.add(share{from: first, to: m})
		}
	}
}

// keepPeers leaves an external mount among the peers that it has on the host. Mounts below it would appear there.
func (s *sharer) keepPeers(m *mount) {
	m.peer = equal
	if len(m.children) > 0 {
		m.refuse("", "it is a peer of mounts on the host, and others are mounted below it: not supported")
	}
}

// widest finds the mount that shows all that the others show, if there is one: its root is the shortest.
func widest(members []*mount) *mount {
	return slices.MinFunc(members, func(a, b *mount) int { return cmp.Compare(len(a.root()), len(b.root())) })
}

func showsAll(m *mount, members []*mount) bool {
	for _, other := range members {
		if !shows(m, other) {
			return false
		}
	}
	return true
}

// shows reports whether a mount shows all that another one shows.
func shows(m, other *mount) bool {
	_, ok := below(other.root(), m.root())
	return ok && m.img.GetRootDev() == other.img.GetRootDev()
}

// follow makes a mount the slave of a group, and gives it a group of its own where it had one.
func (s *sharer) follow(m *mount, shared bool) {
	id := m.img.GetMasterId()
	masters := s.peers[id]
	if len(masters) == 0 {
		s.followHost(m, shared)
		return
	}
	if s.state[id] == begun {
		m.refuse("", "group %d is its own master", id)
		return
	}
	s.group(id)
	for _, master := range masters {
		if shows(master, m) {
			s.add(share{from: master, to: m, slave: true, shared: shared})
			return
		}
	}
	m.refuse("", "none of its masters (group %d) shows all that it shows: not supported", id)
}

// followHost: only what is cloned from the host's tree can have its master there.
func (s *sharer) followHost(m *mount, shared bool) {
	if m.kind != external {
		m.refuse("", "its master (group %d) was outside of the mount namespace: not supported",
			m.img.GetMasterId())
		return
	}
	m.peer = follower
	if shared {
		s.add(share{to: m, shared: true})
	}
}

func (s *sharer) add(step share) { s.p.shares = append(s.p.shares, step) }

// propagations are the types that mount_setattr(2) sets one after the other.
func (s *share) propagations() (types []uint64) {
	for _, t := range []struct {
		on bool
		is uint64
	}{{s.slave, uapi.MsSlave}, {s.shared, uapi.MsShared}, {s.unbindable, uapi.MsUnbindable}} {
		if t.on {
			types = append(types, t.is)
		}
	}
	return types
}
