package mnt

import "os"

// handle is what the controller holds of a mount that it has made.
type handle struct {
	mount   *os.File            // the mount; of what is made later, one like it, for looking into it
	targets map[*mount]*os.File // the mount points of its children
	parked  bool                // it is attached in the scratch file system meanwhile
}

func (h *handle) close() {
	if h.mount != nil {
		h.mount.Close()
	}
	for _, f := range h.targets {
		f.Close()
	}
}

// made is what Make leaves.
type made struct {
	namespace *os.File         // which the tasks enter
	ptys      map[pty]*os.File // masters of terminals that are mounted somewhere, or orphans
	duplicate func(*os.File) (*os.File, error)
	lower     func() // the limit of descriptors, to what it was before
}

// pty is a terminal: each mount of devpts has its own numbers.
type pty struct {
	devpts *mount
	index  int
}

// Close closes what Make has left. A mount namespace that nobody is in ends with it.
func (p *Plan) Close() {
	for _, m := range append(p.mounts, p.hidden...) {
		if m.handle != nil {
			m.handle.close()
			m.handle = nil
		}
	}
	for _, f := range p.made.ptys {
		f.Close()
	}
	if p.made.namespace != nil {
		p.made.namespace.Close()
	}
	if p.made.lower != nil {
		p.made.lower()
	}
	p.made = made{}
}
