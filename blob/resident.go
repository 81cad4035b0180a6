package blob

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// Resident are the hooks that one file of a process carries itself.
type Resident struct {
	Name  string // by which messages tell it apart
	Hooks []ResidentHook
}

// ResidentHook is one of them; its function is the process's.
type ResidentHook struct {
	ID       stage.Stage
	Priority int32
	Fn       Addr
	Symbol   string // demangled name of the function; empty: not known
}

// WithResident is the image with another hook table, which is not a part of it: TableAt lays it out. In that table
// resident hooks run after those of plugins with the same stage and priority. Everything else lies where it does.
func (img *Image) WithResident(all []Resident) (*Image, error) {
	l := *img.layout
	if n := len(l.objects) - 1 + len(all); n > abi.MaxPlugins {
		return nil, fmt.Errorf("lay out %d plugins and files with resident hooks: more than %d", n, abi.MaxPlugins)
	}
	l.objects = slices.Clip(l.objects)
	for _, r := range all {
		o := object{Plugin: &loader.Plugin{}, label: r.Name}
		for _, h := range r.Hooks {
			o.Hooks = append(o.Hooks, loader.Hook{ID: h.ID, Priority: h.Priority})
			o.functions, o.symbols = append(o.functions, h.Fn), append(o.symbols, h.Symbol)
		}
		l.objects = append(l.objects, o)
	}
	idle := img.layout.table.idle
	l.table = newTable(l.objects[1:])
	with := *img
	with.layout = &l
	if idle != nil {
		with.layout = l.Only(func(plugin int) bool { return plugin >= len(idle) || !idle[plugin] })
	}
	return &with, nil
}

// TableAt gives the bytes of the hook table for an address.
func (img *Image) TableAt(at Addr) []byte {
	t := img.layout.table
	t.start = offset(at - img.Base)
	b := make([]byte, t.size)
	t.encode(b, img.Base)
	return b
}

// residentAt names the resident hook that begins at an address; "" if none does, or it has no name.
func (l *Layout) residentAt(addr Addr) string {
	for i := range l.objects {
		if k := slices.Index(l.objects[i].functions, addr); k >= 0 {
			return l.objects[i].symbols[k]
		}
	}
	return ""
}

// TableSize is how many bytes the hook table has with resident hooks, 0 without any.
func (l *Layout) TableSize(all []Resident) int {
	if len(all) == 0 {
		return 0
	}
	size := l.table.size
	for _, r := range all {
		size += abi.TablePluginSize + len(r.Name) + 1 + len(r.Hooks)*abi.TableHookSize
	}
	return size
}
