package main

import (
	"debug/elf"
	"fmt"
	"io"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
	"golang.org/x/arch/x86/x86asm"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

// disassemble lists the code of the plugin as it would lie, with symbols for the addresses in it.
func disassemble(w io.Writer, p *loader.Plugin, img *blob.Image) {
	names, data := symbolNames(p, img), dataMarks(p, img)
	for i := range p.Sections {
		s := &p.Sections[i]
		if s.Segment() != loader.Text || s.Size == 0 {
			continue
		}
		base := img.SectionAddr(-1, i)
		fmt.Fprintf(w, "\nsection %s\n", escape.Name(s.Name))
		code, inData := img.Bytes(base, s.Size), false
		for at := uint64(0); at < uint64(len(code)); {
			addr := uint64(base) + at
			if name := names[addr]; name != "" {
				fmt.Fprintf(w, "%s:\n", loader.Demangle(name))
			}
			if mark, ok := data[addr]; ok {
				inData = mark
			}
			text, size := ".data", min(4, uint64(len(code))-at)
			if !inData {
				text, size = instruction(p.Machine, code[at:], addr, names)
			}
			fmt.Fprintf(w, "  %8x:  %-24s %s\n", addr, fmt.Sprintf("% x", code[at:at+size]), text)
			at += size
		}
	}
}

// dataMarks finds the mapping symbols of aarch64 (AAELF64, "Mapping symbols"): $d begins data, $x code. On x86-64
// nothing tells data in code from instructions.
func dataMarks(p *loader.Plugin, img *blob.Image) map[uint64]bool {
	marks := map[uint64]bool{}
	for i := range p.Symbols {
		s := &p.Symbols[i]
		kind, _, _ := strings.Cut(s.Name, ".")
		if p.Machine == elf.EM_AARCH64 && s.Section >= 0 && (kind == "$d" || kind == "$x") {
			marks[uint64(img.SectionAddr(-1, int(s.Section)))+s.Value] = kind == "$d"
		}
	}
	return marks
}

// symbolNames gives the name at each address that has one; functions win over other labels.
func symbolNames(p *loader.Plugin, img *blob.Image) map[uint64]string {
	names := map[uint64]string{}
	for i := range p.Symbols {
		s := &p.Symbols[i]
		if s.Section < 0 || s.Name == "" || s.Name[0] == '$' || s.Type == elf.STT_SECTION {
			continue
		}
		at := uint64(img.SectionAddr(-1, int(s.Section))) + s.Value
		if names[at] == "" || s.Type == elf.STT_FUNC {
			names[at] = s.Name
		}
	}
	return names
}

// instruction decodes one instruction at addr in GNU syntax; bytes that are not an instruction are shown as such.
func instruction(m elf.Machine, code []byte, addr uint64, names map[uint64]string) (text string, size uint64) {
	lookup := func(a uint64) (string, uint64) {
		if name := names[a]; name != "" {
			return escape.Name(name), a
		}
		return "", 0
	}
	if m == elf.EM_AARCH64 {
		size = min(4, uint64(len(code)))
		inst, err := arm64asm.Decode(code)
		if err != nil {
			return ".inst", size
		}
		return arm64asm.GNUSyntax(inst), size
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil || inst.Len == 0 {
		return fmt.Sprintf(".byte 0x%x", code[0]), 1
	}
	return x86asm.GNUSyntax(inst, addr, lookup), uint64(inst.Len)
}
