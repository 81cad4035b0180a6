package blob

import (
	"cmp"
	"slices"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

// table is the hook table before it has an address: the counts and offsets of its parts. internal/abi has the structs.
type table struct {
	start   offset
	plugins []object
	hooks   []tableHook
	idle    []bool // by plugin: it does not run; nil: all do
	nHooks  int    // idle plugins included
	nParams int
	size    int
}

// tableHook is one hook of one plugin.
type tableHook struct {
	plugin int
	hook   int // index into Plugin.Hooks
}

// Only is the layout of an image in which only some plugins run: the table names no function of the others. Everything
// lies where it does with all of them.
func (l *Layout) Only(runs func(plugin int) bool) *Layout {
	only := *l
	only.table.idle = make([]bool, len(l.table.plugins))
	only.table.hooks = nil
	for i := range l.table.plugins {
		only.table.idle[i] = !runs(i)
	}
	for _, h := range l.table.hooks {
		if !only.table.idle[h.plugin] {
			only.table.hooks = append(only.table.hooks, h)
		}
	}
	return &only
}

// newTable sorts the hooks as they will run: by stage, then priority, then command line, then place in the object.
func newTable(plugins []object) table {
	t := table{plugins: plugins}
	text := 0
	for i, p := range plugins {
		for h := range p.Hooks {
			t.hooks = append(t.hooks, tableHook{i, h})
		}
		t.nParams += len(p.params)
		text += len(p.label) + 1
		for _, kv := range p.params {
			text += len(kv.key()) + 1 + len(kv.Value) + 1
		}
	}
	slices.SortStableFunc(t.hooks, func(a, b tableHook) int {
		x, y := &plugins[a.plugin].Hooks[a.hook], &plugins[b.plugin].Hooks[b.hook]
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Priority, y.Priority))
	})
	t.nHooks = len(t.hooks)
	t.size = t.stringsAt() + text
	return t
}

func (t *table) pluginsAt() int { return abi.TableSize }
func (t *table) hooksAt() int   { return t.pluginsAt() + len(t.plugins)*abi.TablePluginSize }
func (t *table) paramsAt() int  { return t.hooksAt() + t.nHooks*abi.TableHookSize }
func (t *table) stringsAt() int { return t.paramsAt() + t.nParams*abi.ParamPairSize }

// encode writes the table as it is when the image is at base.
func (t *table) encode(b []byte, base Addr) {
	e := encoder{table: t, b: b, at: base + Addr(t.start), base: base, strings: t.stringsAt(), params: t.paramsAt()}
	e.put(0, &abi.Table{
		Size: abi.TableSize, ABI: abi.Version, Plugins: e.addr(t.pluginsAt()),
		NrPlugins: uint64(len(t.plugins)),
		Hooks:     e.addr(t.hooksAt()), NrHooks: uint64(len(t.hooks)),
	})
	for i := range t.plugins {
		plugin := e.plugin(&t.plugins[i])
		if t.idle != nil && t.idle[i] {
			plugin.Init, plugin.Exit = 0, 0
		}
		e.put(t.pluginsAt()+i*abi.TablePluginSize, &plugin)
	}
	for i, h := range t.hooks {
		e.put(t.hooksAt()+i*abi.TableHookSize, e.hook(h))
	}
}

// encoder lays out the table; strings and params are where the next of each goes.
type encoder struct {
	table   *table
	b       []byte
	at      Addr // of b
	base    Addr // of the image
	strings int
	params  int
}

func (e *encoder) put(off int, s memory.Record) { s.Put(e.b[off:]) }

func (e *encoder) addr(off int) uint64 { return uint64(e.at) + uint64(off) }

// str appends a NUL-terminated string and returns its address.
func (e *encoder) str(s string) uint64 {
	at := e.addr(e.strings)
	e.strings += copy(e.b[e.strings:], s) + 1
	return at
}

// plugin appends the parameters and strings of a plugin and returns its entry, which refers to them. An entry has
// address 0 for a function that the plugin lacks.
func (e *encoder) plugin(p *object) abi.TablePlugin {
	plugin := abi.TablePlugin{
		Name: e.str(p.label), Params: e.addr(e.params), NrParams: uint64(len(p.params)),
		Init: uint64(p.function(p.Init, e.base)), Exit: uint64(p.function(p.Exit, e.base)),
	}
	for _, kv := range p.params {
		e.put(e.params, &abi.ParamPair{Key: e.str(kv.key()), Value: e.str(kv.Value)})
		e.params += abi.ParamPairSize
	}
	return plugin
}

func (e *encoder) hook(h tableHook) *abi.TableHook {
	p := &e.table.plugins[h.plugin]
	hook := &p.Hooks[h.hook]
	return &abi.TableHook{
		Hook: uint32(hook.ID), Priority: hook.Priority, Plugin: uint32(h.plugin),
		Fn: uint64(p.hook(h.hook, e.base)),
	}
}
