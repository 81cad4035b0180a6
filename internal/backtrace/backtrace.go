package backtrace

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/taskview"
)

// Thread is a stopped thread.
type Thread struct {
	Pid       int // of its process, whose mappings are read
	Image     *blob.Image
	Read      func(addr uint64, b []byte) bool
	Registers Registers
	StackEnd  uint64 // of the stack on which crpie has called the plugin
}

// Trace is where a thread is, and who has called that.
type Trace struct {
	Where    string        // "sort+0x1a (hook.c:12)", "qsort_r+0x1a in /lib/libc.so.6"
	Callers  []string      // likewise, up to the function of the plugin that crpie has called
	Location blob.Location // the innermost that is in a plugin
}

// Of finds out where a thread is.
func Of(t *Thread) *Trace {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", t.Pid))
	maps, _ := procmaps.Parse(string(text)) // of a process that has gone nothing is known
	p := &process{Thread: t, maps: maps, objects: map[uint64]*object{}}
	trace := &Trace{}
	for i, f := range walk(p, t.Registers, t.StackEnd) {
		pc := f.registers[returns]
		if i > 0 {
			pc-- // the call, not what follows it
		}
		if p.isPlugin(pc) && trace.Location.File == "" && trace.Location.Function == "" {
			trace.Location, _ = t.Image.Locate(blob.Addr(pc))
		}
		if i == 0 {
			trace.Where = p.describe(pc)
			continue
		}
		trace.Callers = append(trace.Callers, p.describe(pc)+f.found.note())
	}
	return trace
}

// note tells of a frame that is not sure.
func (h How) note() string {
	switch h {
	case ByFramePointer:
		return ", by its frame pointer"
	case OnStack:
		return ", perhaps: the stack has this address"
	}
	return ""
}

// process is the space of a thread.
type process struct {
	*Thread
	maps    []taskview.VMA
	objects map[uint64]*object // by the start of their mapping
}

func (p *process) read(addr uint64, b []byte) bool { return p.Read(addr, b) }

func (p *process) isCode(addr uint64) bool {
	m := taskview.At(p.maps, addr)
	return m != nil && isCode(m)
}

func (p *process) isPlugin(addr uint64) bool {
	plugin, ok := p.Image.PluginAt(blob.Addr(addr))
	return ok && plugin >= 0
}

func (p *process) isEnd(addr uint64) bool {
	plugin, ok := p.Image.PluginAt(blob.Addr(addr))
	return ok && plugin < 0
}

func (p *process) unwind(addr uint64, r *Registers) (caller Registers, ok bool) {
	read := func(addr uint64) (uint64, bool) { return word(p, addr) }
	if _, ours := p.Image.PluginAt(blob.Addr(addr)); ours {
		return p.Image.Unwind(blob.Addr(addr), *r, read)
	}
	if o := p.object(taskview.At(p.maps, addr)); o != nil {
		if row, known := o.row(addr); known {
			return row.Caller(r, read)
		}
	}
	return caller, false
}

// object reads the file of a mapping once.
func (p *process) object(m *taskview.VMA) *object {
	if m == nil || !isFile(m) || !isCode(m) {
		return nil
	}
	if p.objects[m.Start] == nil {
		p.objects[m.Start] = openObject(p.Pid, m)
	}
	return p.objects[m.Start]
}

// describe names an address of the plugins, of a file, or of neither.
func (p *process) describe(addr uint64) string {
	if _, ok := p.Image.PluginAt(blob.Addr(addr)); ok {
		return p.Image.Describe(blob.Addr(addr))
	}
	if m := taskview.At(p.maps, addr); m != nil {
		return describe(m, p.object(m), addr)
	}
	return fmt.Sprintf("address %#x, where nothing is mapped", addr)
}
