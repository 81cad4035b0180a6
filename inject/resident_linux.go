//go:build amd64

package inject

import (
	"fmt"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/resident"
	"github.com/crpie/crpie/internal/several"
)

// findResident looks for the hooks that the process carries itself, if that is asked for. Of a damaged array nothing
// runs: with auto that is noted, otherwise nothing is done.
func (p *target) findResident() error {
	which := p.opts.ResidentHooks
	if which == "" {
		return nil
	}
	found := (&resident.Process{Space: p.space(), Read: p.mem.Read, Unfiltered: p.suspended,
		Plugins: len(p.opts.Plugins)}).Find(which)
	switch {
	case len(found.Damaged) > 0 && which != resident.Auto:
		return p.problem("resident hooks: %w", several.Join(found.Damaged...))
	case len(found.Damaged) > 0:
		for _, err := range found.Damaged {
			p.report.Notes = append(p.report.Notes, fmt.Sprintf("none of its resident hooks runs: %v", err))
		}
		return nil
	case len(found.Files) == 0 && which == resident.Auto:
		p.report.Notes = append(p.report.Notes, "resident hooks: it has none")
	case len(found.Files) == 0 && p.root:
		return p.problem("no file that it maps exports an array %s (--resident-hooks=%s)", resident.Symbol, which)
	}
	p.residents = found.Files
	return nil
}

// layTable lays out the hook table that has the resident hooks, too.
func (p *target) layTable(a *memory.Arena) {
	if len(p.residents) == 0 {
		return
	}
	at := blob.Addr(a.Reserve(0))
	a.Bytes(p.image.TableAt(at))
	p.table = tableOf(func(addr blob.Addr, n uint64) []byte { return a.At(uint64(addr))[:n] }, at)
}

// withResident gives the image the process's resident hooks.
func (p *target) withResident() (err error) {
	if len(p.residents) > 0 {
		p.image, err = p.image.WithResident(p.residents)
	}
	return err
}
