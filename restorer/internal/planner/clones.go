package planner

import (
	"github.com/crpie/crpie/internal/clones"
	"github.com/crpie/crpie/internal/uapi"
)

// checkClones refuses what only one of several restores of the same images can have, and names what they change
// together.
func (p *planner) checkClones() {
	if p.Opts.Clones == nil {
		return
	}
	for _, thing := range clones.Things(p.Dir, p.setApart()) {
		switch {
		case p.leftOut(&thing):
		case thing.Verdict == clones.One:
			p.Refuse(thing.Where, thing.Hint, "%s", thing.What)
		case thing.Verdict == clones.Mixed:
			p.Warn(thing.Where, "%s", thing.What)
		}
	}
}

// setApart says which namespaces each clone has of its own: one that is entered is the same for all, unless the options
// have another for each.
func (p *planner) setApart() clones.Namespaces {
	own := clones.Own(p.Dir)
	entered := p.Own.Net != nil && p.Own.Net.Entered()
	own.Net = own.Net && !entered || p.Opts.Clones.Nets
	own.IPC = own.IPC && !p.Own.Joins(uapi.CloneNewipc)
	return own
}

// leftOut reports what the restore does not make, or what it gets from outside.
func (p *planner) leftOut(thing *clones.Thing) bool {
	_, inherited := p.files.Inherited[thing.ID]
	switch {
	case thing.ID != 0 && inherited:
		return true
	case thing.Kind == clones.Connection:
		return p.Opts.TCPClose
	case thing.Kind == clones.Lock:
		return p.Opts.NoLocks || p.Opts.Clones.Roots
	}
	return p.Opts.Clones.Roots && (thing.Kind == clones.File || thing.Kind == clones.Mapping)
}
