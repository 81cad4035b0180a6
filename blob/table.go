package blob

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/crpie/crpie/internal/abi"
)

// table is the hook table before it has an address: the counts and offsets of its parts. internal/abi draws the structs.
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
			text += len(kv.Key) + 1 + len(kv.Value) + 1
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
	e.u32(abi.TableSizeOff, abi.TableSize)
	e.u32(abi.TableABIOff, abi.Version)
	e.addr(abi.TablePluginsOff, t.pluginsAt())
	e.u64(abi.TableNrPluginsOff, uint64(len(t.plugins)))
	e.addr(abi.TableHooksOff, t.hooksAt())
	e.u64(abi.TableNrHooksOff, uint64(len(t.hooks)))
	for i := range t.plugins {
		e.plugin(t.pluginsAt()+i*abi.TablePluginSize, &t.plugins[i])
		if t.idle != nil && t.idle[i] {
			e.u64(t.pluginsAt()+i*abi.TablePluginSize+abi.TablePluginInitOff, 0)
			e.u64(t.pluginsAt()+i*abi.TablePluginSize+abi.TablePluginExitOff, 0)
		}
	}
	for i, h := range t.hooks {
		e.hook(t.hooksAt()+i*abi.TableHookSize, h)
	}
}

// encoder writes little-endian words; strings and params are where the next of each goes.
type encoder struct {
	table   *table
	b       []byte
	at      Addr // of b
	base    Addr // of the image
	strings int
	params  int
}

func (e *encoder) u32(off int, v uint32)   { binary.LittleEndian.PutUint32(e.b[off:], v) }
func (e *encoder) u64(off int, v uint64)   { binary.LittleEndian.PutUint64(e.b[off:], v) }
func (e *encoder) addr(off int, table int) { e.u64(off, uint64(e.at)+uint64(table)) }

// str appends a NUL-terminated string and puts its address at off.
func (e *encoder) str(off int, s string) {
	e.addr(off, e.strings)
	e.strings += copy(e.b[e.strings:], s) + 1
}

func (e *encoder) plugin(off int, p *object) {
	e.str(off+abi.TablePluginNameOff, p.label)
	e.addr(off+abi.TablePluginParamsOff, e.params)
	e.u64(off+abi.TablePluginNrParamsOff, uint64(len(p.params)))
	for _, kv := range p.params {
		e.str(e.params, kv.Key)
		e.str(e.params+8, kv.Value)
		e.params += abi.ParamPairSize
	}
	e.u64(off+abi.TablePluginInitOff, uint64(p.function(p.Init, e.base)))
	e.u64(off+abi.TablePluginExitOff, uint64(p.function(p.Exit, e.base)))
}

func (e *encoder) hook(off int, h tableHook) {
	p := &e.table.plugins[h.plugin]
	hook := &p.Hooks[h.hook]
	e.u32(off+abi.TableHookHookOff, uint32(hook.ID))
	e.u32(off+abi.TableHookPriorityOff, uint32(hook.Priority))
	e.u32(off+abi.TableHookPluginOff, uint32(h.plugin))
	e.u64(off+abi.TableHookFnOff, uint64(p.function(hook.Fn, e.base)))
}
