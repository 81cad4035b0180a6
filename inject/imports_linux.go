//go:build amd64

package inject

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
)

// slot is a pointer of a plugin's, and the address that it gets.
type slot struct{ at, value uint64 }

// findImports finds the symbols that plugins import in the files that the process maps, or says of all of them why one
// has no address.
func (p *target) findImports() (slots []slot, err error) {
	var missing []error
	space := p.space()
	for i := range p.opts.Plugins {
		if !p.selects(i) {
			continue
		}
		for k := range p.opts.Plugins[i].Plugin.Imports {
			in := &p.opts.Plugins[i].Plugin.Imports[k]
			addr, absent, err := space.Import(in.Library, in.Symbol, in.Version, in.Required)
			if err != nil {
				missing = append(missing, p.problem("plugin %s: import %s: %w", p.image.PluginName(i), in, err))
			}
			if absent != nil {
				note := exports.NullNote(p.image.PluginName(i), in, absent)
				p.report.Notes = append(p.report.Notes, note)
			}
			slots = append(slots, slot{uint64(p.image.Slot(i, k)), addr})
		}
	}
	return slots, several.Join(missing...)
}

// space is what the process maps. Its files are opened through its own root, where its paths mean something.
func (p *target) space() *exports.Space {
	root := fmt.Sprintf("/proc/%d/root", p.self.pid)
	program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.self.pid)) // without it, no mapping is the program's
	return &exports.Space{Mappings: p.view.vmas, Program: program, Files: &p.libraries,
		Open: func(name string) (io.ReaderAt, error) {
			from, _, err := files.OpenBelow(root)(name)
			return from, err
		}}
}

// fillSlots writes the addresses.
func (p *target) fillSlots(slots []slot) error {
	for _, s := range slots {
		if err := p.mem.Write(s.at, binary.LittleEndian.AppendUint64(nil, s.value)); err != nil {
			return p.problem("%w", err)
		}
	}
	return nil
}
