//go:build linux && amd64

package doctor

import (
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	sharing "github.com/crpie/crpie/internal/clones"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/imagemem"
)

// Clones lists what two restores of the same images have in common, and what sets them apart. A problem is what only
// one of them can have, or what they would damage together; a note is what is equal in both. Files in which generators
// of random numbers may be are opened by open.
func Clones(d *images.Dir, open imagemem.OpenFile) []Finding {
	c := &clones{Dir: d, open: open, symbols: &exports.Files{}}
	c.pids()
	verdicts := map[sharing.Verdict]Verdict{sharing.Each: Fine, sharing.All: Note, sharing.Mixed: Problem,
		sharing.One: Problem}
	for _, thing := range sharing.Things(d, sharing.Own(d)) {
		c.add(thing.Kind, verdicts[thing.Verdict], thing.Hint, "%s: %s", thing.Where, thing.What)
	}
	c.identity()
	c.add("addresses", Note, "nothing can change them", "the layout of memory, stack guards and pointer guards are equal")
	return c.findings
}

// clones is one look at a dump.
type clones struct {
	round
	*images.Dir
	open    imagemem.OpenFile
	symbols *exports.Files
}

func (c *clones) pids() {
	if c.OwnNamespace((*pb.TaskKobjIdsEntry).GetPidNsId) {
		c.fine("pids", "tasks: %d, in a pid namespace of their own", len(c.Tasks))
		return
	}
	c.add("pids", Problem, "crpie restore --clones N, or --new-pids",
		"tasks: %d, from pid %d on: another restore fails while they live", len(c.Tasks), c.Tasks[0].Pid)
}
