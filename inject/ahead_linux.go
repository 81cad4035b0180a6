//go:build amd64

package inject

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// ahead is what is prepared while a process still runs, so that it stands still for a shorter time. What has changed
// until it is stopped is done again.
type ahead struct {
	maps  string // /proc/PID/maps
	vmas  []taskview.VMA
	auxv  []uint64
	start uint64 // where the region would lie
	size  uint64
	image *blob.Image
}

// room is how much larger a region may become until the process is stopped, bytes.
const room = 64 << 10

// lookAhead prepares what it can; anything may be missing.
func (s *session) lookAhead(pid sys.PID) *ahead {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	auxv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	vmas, err := procmaps.Parse(string(text))
	if err != nil {
		return nil
	}
	a := &ahead{maps: string(text), vmas: vmas, auxv: changes.Words(auxv)}
	a.size = regionSize(s.layout.Size(), &view{vmas: vmas}) + room
	if a.start, err = placeRegion(vmas, a.size); err != nil {
		return nil
	}
	if a.image, err = s.layout.Relocate(blob.Addr(a.start)); err != nil {
		return nil
	}
	return a
}

// placeRegion finds an address for size bytes.
func placeRegion(vmas []taskview.VMA, size uint64) (start uint64, err error) {
	hole := memory.LargestHole(used(vmas))
	if hole.Size() < size+2*memory.PageSize {
		return 0, fmt.Errorf("its address space has no hole of %d bytes", size)
	}
	return hole.Place(size, rand.Uint64()), nil
}

// fits reports whether a region of that size can lie where it was meant to.
func (a *ahead) fits(size uint64, vmas []taskview.VMA) bool {
	return a != nil && size <= a.size && !slices.ContainsFunc(vmas, func(v taskview.VMA) bool {
		return v.Start < a.start+size && v.End > a.start
	})
}

// settle decides where the region lies, and relocates the blob to there.
func (p *target) settle() error {
	size := regionSize(p.layout.Size(), &p.view) + memory.PageUp(uint64(p.layout.TableSize(p.residents)))
	if p.ahead.fits(size, p.view.vmas) {
		p.region, p.image = layRegion(p.ahead.start, p.layout.Size()), p.ahead.image
		return p.withResident()
	}
	start, err := placeRegion(p.view.vmas, size)
	if err != nil {
		return err
	}
	p.region = layRegion(start, p.layout.Size())
	if p.image, err = p.layout.Relocate(blob.Addr(start)); err != nil {
		return err
	}
	return p.withResident()
}

// inThreads reports whether hooks run in threads besides the leader.
func (s *session) inThreads() bool {
	if len(s.opts.Stages) > 0 && !slices.Contains(s.opts.Stages, stage.PreSigreturnThread) {
		return false
	}
	if s.opts.ResidentHooks != "" {
		return true // that is known when it has stopped
	}
	perThread := func(h loader.Hook) bool { return h.ID == stage.PreSigreturnThread }
	return slices.ContainsFunc(s.opts.Plugins, func(in blob.Input) bool {
		return slices.ContainsFunc(in.Plugin.Hooks, perThread)
	})
}
