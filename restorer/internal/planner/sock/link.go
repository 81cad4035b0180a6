package sock

import (
	"fmt"
)

// InFlight are the files that sockets have in their queues (SCM_RIGHTS, unix(7)), in the order of the queues. The
// zygote makes them, the sockets, and whatever it needs for that: who sends has all of them.
func (p *Room) InFlight() []uint32 {
	var ids []uint32
	seen := map[uint32]bool{}
	for _, q := range p.Dir.SkQueues {
		for _, scm := range q.Entry.GetScm() {
			for _, id := range scm.GetRights() {
				if !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// Linked are the files that the zygote must make: sockets that are connected to others of another task or in flight, or
// have something in flight in their queues.
func (p *Room) Linked() map[uint32]bool {
	groups := socketGroups{}
	users := map[string]map[uint32]bool{}
	each := func(do func(pid, id uint32, key string)) {
		for _, t := range p.Dir.Tasks {
			for _, fd := range t.Fds {
				p.eachUnix(fd.GetId(), func(key string) { do(t.Pid, fd.GetId(), key) })
			}
		}
		const nobody = 0 // not a pid
		for _, id := range p.InFlight() {
			p.eachUnix(id, func(key string) { do(nobody, id, key) })
		}
		for _, q := range p.Dir.SkQueues {
			if len(q.Entry.GetScm()) > 0 {
				p.eachUnix(q.Entry.GetIdFor(), func(key string) { do(nobody, q.Entry.GetIdFor(), key) })
			}
		}
	}
	each(func(_, id uint32, key string) {
		s := p.Dir.Files[id].GetUsk()
		if s.GetPeer() != 0 {
			groups.join(key, fmt.Sprint("inode ", s.GetPeer()))
		}
		if len(s.GetName()) > 0 {
			groups.join(key, fmt.Sprintf("name %s %s", s.GetNameDir(), s.GetName()))
		}
	})
	each(func(pid, _ uint32, key string) {
		root := groups.root(key)
		if users[root] == nil {
			users[root] = map[uint32]bool{}
		}
		users[root][pid] = true
	})
	linked := map[uint32]bool{}
	each(func(_, id uint32, key string) {
		of := users[groups.root(key)]
		linked[id] = len(of) > 1 || of[0]
	})
	return linked
}

// eachUnix calls do with the key of a unix socket in socketGroups; other files have none.
func (p *Room) eachUnix(id uint32, do func(key string)) {
	if s := p.Dir.Files[id].GetUsk(); s != nil {
		do(fmt.Sprint("inode ", s.GetIno()))
	}
}

// socketGroups is a forest: everything in one tree belongs together.
type socketGroups map[string]string

// root finds the name of a group, and shortens the way for the next time (union-find).
func (g socketGroups) root(key string) string {
	root := key
	for g[root] != "" {
		root = g[root]
	}
	for g[key] != "" {
		key, g[key] = g[key], root
	}
	return root
}

func (g socketGroups) join(a, b string) {
	if x, y := g.root(a), g.root(b); x != y {
		g[x] = y
	}
}
