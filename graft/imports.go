package graft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/imagemem"
)

// OpenFile opens a file of the tasks by the path that they know it by, and gives its size.
type OpenFile func(name string) (from io.ReaderAt, size int64, err error)

// imported is the address that a slot gets.
type imported struct {
	plugin, index int // into Plugin.Imports
	addr          uint64
}

// findImports finds the symbols that plugins import. The graft has their addresses, so each file must be the one that
// the tasks had mapped.
func (g *grafter) findImports(tasks []*images.Task) {
	g.imports = map[uint32][]imported{}
	for _, t := range tasks {
		space := imagemem.Space(g.dir, t, &g.mapped, imagemem.OpenFile(g.opts.OpenFile))
		for i, p := range g.opts.Plugins {
			if !g.runsIn[i][t.Pid] {
				continue
			}
			for k := range p.Plugin.Imports {
				in := imported{i, k, g.findImport(space, t, i, k)}
				g.imports[t.Pid] = append(g.imports[t.Pid], in)
			}
		}
	}
}

// findImport gives the address of one symbol, 0 for an optional one that is not there.
func (g *grafter) findImport(space *exports.Space, t *images.Task, plugin, index int) uint64 {
	in := &g.opts.Plugins[plugin].Plugin.Imports[index]
	addr, absent, err := space.Import(in.Library, in.Symbol, in.Version, in.Required)
	if err != nil {
		g.refuse(fmt.Sprintf("task %d plugin %s", t.Pid, g.labels[plugin]), importFix(err), "import %s: %v", in, err)
	}
	if absent != nil {
		note := exports.NullNote(g.labels[plugin], in, absent)
		if !slices.Contains(g.plan.Notes, note) {
			g.plan.Notes = append(g.plan.Notes, note)
		}
	}
	return addr
}

func importFix(err error) string {
	advice := exports.Advice(err)
	if advice == "" && errors.Is(err, exports.ErrOtherFile) {
		advice = "say with --root where the files of the tasks are"
	}
	return advice
}

// fillSlots writes the addresses of the task's imports into the blob.
func (t *taskGraft) fillSlots() {
	for _, in := range t.imports[t.img.Pid] {
		slot := t.image.Bytes(t.image.Slot(in.plugin, in.index), 8)
		binary.LittleEndian.PutUint64(slot, in.addr)
	}
}
