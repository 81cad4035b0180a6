package planner

import (
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/taskview"
)

// imports finds the symbols that plugins import, and fills their slots before the first hook: every slot, because
// a child begins with its parent's. The files are those that the restore maps, at the places that the images say.
func (t *taskPlanner) imports() {
	var space *exports.Space
	for i := range t.hooked {
		if !t.runsIn[i][t.Img.Pid] {
			continue
		}
		for k := range t.hooked[i].Imports {
			if space == nil {
				space = t.planner.space(t.Img)
			}
			t.fillSlot(space, i, k)
		}
	}
}

// fillSlot finds one symbol and plans its slot.
func (t *taskPlanner) fillSlot(space *exports.Space, plugin, index int) {
	h := &t.hooked[plugin]
	in := &h.Imports[index]
	addr, absent, err := space.Import(in.Library, in.Symbol, in.Version, in.Required)
	if err != nil {
		t.Refuse(fmt.Sprintf("%s plugin %s", t.Where(), h.Name), exports.Advice(err), "import %s: %v", in, err)
	}
	if absent != nil {
		t.lacking(exports.NullNote(h.Name, in, absent))
	}
	t.Prog.Core(fmt.Sprintf("plugin %s: %s", h.Name, in), abi.CopyMemory{
		To: uint64(t.Plan.Image.Slot(plugin, index)), From: t.Prog.Arena.Words(addr), Len: 8})
}

// lacking notes, once for all tasks, that an optional import is not there.
func (p *planner) lacking(note string) {
	if !slices.Contains(p.Plan.Notes, note) {
		p.Plan.Notes = append(p.Plan.Notes, note)
	}
}

// space is what a task will map, with the files of this host. What has its file's name now need not be that file:
// nobody opens it.
func (p *planner) space(t *images.Task) *exports.Space {
	vmas, replaced := taskview.VMAs(p.Dir, t.Mm), map[string]bool{}
	for i, v := range t.Mm.GetVmas() {
		ofFile := v.GetStatus()&(images.VmaFilePrivate|images.VmaFileShared) != 0
		if ofFile && vmas[i].Name != "" && p.files.IsReplaced(uint32(v.GetShmid())) {
			vmas[i].Name += " (deleted)"
			replaced[vmas[i].Name] = true
		}
	}
	return &exports.Space{
		Mappings: vmas,
		Program:  p.Dir.Files[t.Mm.GetExeFileId()].GetReg().GetName(), Files: &p.mapped,
		Open: func(name string) (io.ReaderAt, error) {
			if replaced[name] {
				return nil, fmt.Errorf("it has no name: %w", fs.ErrNotExist)
			}
			if _, err := p.Host.Stat(name); err != nil {
				return nil, err
			}
			return p.Host.File(name), nil
		},
	}
}
