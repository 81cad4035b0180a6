package loader

import (
	"debug/elf"
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/dwarfline"
)

// hookStack is the stack that a hook gets, crpie restore's and a graft's, bytes.
const hookStack = abi.StackSlot - abi.StackGuard

// Numbers of the stack pointer in call frame information: psABI x86-64, 3.6.2, and DWARF for the Arm 64-bit
// Architecture, 4.1.
const stackPointerAMD64, stackPointerARM64 = 7, 31

// largeFrame is a frame that does not fit, and where its section says so.
type largeFrame struct {
	dwarfline.Frame
	section int
}

// checkFrames notes functions whose frame is larger than the stack of a hook. Only what the object says counts: call
// frame information, which gcc and clang write with -g, and clang's -fstack-size-section. A function that keeps a frame
// pointer is described by neither of the first.
func (p *parser) checkFrames() bool {
	var large []largeFrame
	left, seen := maxDebug, map[string]bool{}
	for i := range p.shdrs {
		name, _ := nameAt(p.plugin.shstrtab, p.shdrs[i].Name)
		if elf.SectionType(p.shdrs[i].Type) == elf.SHT_NOBITS || !hasFrames(name) || seen[name] {
			continue
		}
		seen[name] = name != stackSizes // of those there may be one for each section of code
		data, _ := p.plugin.contents(i, left)
		left -= len(data)
		p.visitFrames(i, name, data, func(f dwarfline.Frame) {
			if f.Size > hookStack && len(large) < p.opts.MaxViolations {
				large = append(large, largeFrame{f, i})
			}
		})
	}
	p.noteFrames(large)
	return true
}

const ehFrame, debugFrame, stackSizes = ".eh_frame", ".debug_frame", ".stack_sizes"

func hasFrames(name string) bool { return name == ehFrame || name == debugFrame || name == stackSizes }

// visitFrames visits the frames that a section tells of.
func (p *parser) visitFrames(section int, name string, data []byte, visit func(dwarfline.Frame)) {
	if name == stackSizes {
		dwarfline.StackSizes(data, visit)
		return
	}
	frames := dwarfline.Frames{Data: data, Unwind: name == ehFrame, StackPointer: stackPointerAMD64}
	if p.plugin.Machine == elf.EM_AARCH64 {
		frames.StackPointer = stackPointerARM64
	}
	if !frames.Unwind { // it refers to itself by relocations
		p.plugin.relocateDebug(section, data, make([]uint64, len(p.shdrs)))
	}
	frames.Visit(visit)
}

// noteFrames names the functions, each once: the relocation of an entry leads to it.
func (p *parser) noteFrames(large []largeFrame) {
	known, pointers := map[Place]bool{}, map[int]map[Offset]Relocation{}
	for _, f := range large {
		if pointers[f.section] == nil {
			pointers[f.section] = p.recordPointers(f.section)
		}
		r, found := pointers[f.section][Offset(f.At)]
		if !found || uint64(r.Symbol) >= uint64(len(p.plugin.Symbols)) {
			continue
		}
		s := &p.plugin.Symbols[r.Symbol]
		if s.Section < 0 {
			continue
		}
		place := p.plugin.placeOf(p.plugin.Sections[s.Section].Index, Offset(s.Value+uint64(r.Addend)))
		if !known[place] {
			known[place] = true
			p.noteFrame(place, f.Size)
		}
	}
}

// noteFrame notes a frame that is larger than a hook's stack. Larger than the guard, too, it could step over that
// without touching it.
func (p *parser) noteFrame(place Place, size uint64) {
	name := place.Function
	if name == "" {
		name = "a function"
	}
	text := fmt.Sprintf("the frame of %s has %d bytes, the stack of a hook %d", name, size, hookStack)
	if size > abi.StackGuard {
		text += fmt.Sprintf("; it can reach over the guard of %d bytes below", abi.StackGuard)
	}
	p.report(Violation{Code: CodeFrame, Places: []Place{place}, Message: text})
}
