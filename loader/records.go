package loader

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/stage"
)

// readRecords turns the sections in which a plugin describes itself into Name, Init, Exit, Hooks, Params,
// Syscalls and Imports.
func (p *parser) readRecords() bool {
	plugins, hooks := 0, 0 // records; bytes of records
	for i := range p.shdrs {
		if p.roles[i] != roleRecord || p.opts.Core {
			continue
		}
		switch pointers := p.recordPointers(i); p.sectionName(i) {
		case abi.HooksSection:
			p.readHooks(i, pointers)
			hooks += len(p.bytesOf(i))
		case abi.ParamsSection:
			p.readParams(i)
		case abi.SyscallsSection:
			p.readSyscalls(i)
		case abi.ImportsSection:
			p.readImports(i, pointers)
		default:
			plugins += p.readPlugins(i, pointers)
		}
	}
	p.checkRules()
	p.checkSlots()
	if plugins > 1 {
		p.reportf(CodePluginName, nil, "%d records in section %s; a plugin has one", plugins, abi.PluginSection)
	}
	if hooks == 0 && !p.opts.Core {
		v := Violation{Code: CodeNoHook,
			Message: fmt.Sprintf("no hook is registered (section %s is missing or empty)", abi.HooksSection)}
		if p.fromRust() {
			v.Fix = "put #[used] before the static in section " + abi.HooksSection + ": rustc leaves out what nobody uses"
		}
		p.report(v)
	}
	return true
}

// fromRust reports whether rustc says in .comment that it made the object.
func (p *parser) fromRust() bool {
	for i := range p.shdrs {
		if p.sectionName(i) == ".comment" && bytes.Contains(p.bytesOf(i), []byte("rustc ")) {
			return true
		}
	}
	return false
}

// recordPointers collects the relocations of a section by offset.
func (p *parser) recordPointers(section int) map[Offset]Relocation {
	found := map[Offset]Relocation{}
	table := int(p.plugin.relocOf[section])
	if s := &p.shdrs[table]; table == 0 || s.Entsize != relaSize || s.Size%relaSize != 0 {
		return found
	}
	for r := range (Relocations{p.bytesOf(table)}).All() {
		found[r.Offset] = r
	}
	return found
}

// records cuts a section into records of the size that each gives in its first word, want bytes or, from the headers
// of a later crpie, more: newer objects append members, which older loaders skip. Compilers may align each to 16 or
// 32 bytes, as they do with any variable: zero words in between are padding.
func (p *parser) records(section, want int, visit func(at Offset, record []byte)) {
	raw, name := p.bytesOf(section), p.sectionName(section)
	if len(raw) == 0 && p.shdrs[section].Size > 0 {
		p.reportf(CodeRecord, []Place{{Section: name}}, "section %s has no bytes in the file", name)
	}
	for at := 0; at < len(raw); {
		if len(raw)-at >= 8 && le64(raw[at:]) == 0 {
			at += 8
			continue
		}
		size := uint32(0)
		if len(raw)-at >= 4 {
			size = le32(raw[at:])
		}
		if int64(size) > int64(len(raw)-at) || int64(size) < int64(want) || size%8 != 0 {
			p.reportf(CodeRecord, []Place{{Section: name, Offset: Offset(at)}},
				"record of %d bytes with %d left in section %s, expected %d", size, len(raw)-at, name,
				want)
			return
		}
		rec := raw[at : at+int(size)]
		if v := le32(rec[abi.HookRecordABIOff:]); v == 0 || v > abi.Version {
			p.reportf(CodeABI, []Place{{Section: name, Offset: Offset(at)}},
				"record needs plugin ABI version %d; this crpie has version %d", v, abi.Version)
		} else {
			visit(Offset(at), rec)
		}
		at += int(size)
	}
}

// readPlugins reads the records that name a plugin, and counts them: an object has one.
func (p *parser) readPlugins(section int, pointers map[Offset]Relocation) (count int) {
	p.records(section, abi.PluginRecordSize, func(at Offset, rec []byte) {
		count++
		p.readPluginName(section, at, rec[abi.PluginRecordNameOff:][:abi.NameMax])
		p.plugin.Init = p.recordFunc(section, at+abi.PluginRecordInitOff, pointers, "init")
		p.plugin.Exit = p.recordFunc(section, at+abi.PluginRecordExitOff, pointers, "exit")
	})
	return count
}

// readPluginName reads the name. It stands in front of --pie-plugin's arguments, so it has neither space nor comma.
func (p *parser) readPluginName(section int, at Offset, field []byte) {
	end := bytes.IndexByte(field, 0)
	bad := func(c byte) bool { return c <= ' ' || c > '~' || c == ',' }
	if end <= 0 || bytes.ContainsFunc(field[:end], func(r rune) bool { return r > 127 || bad(byte(r)) }) {
		p.reportf(CodePluginName, []Place{{Section: p.sectionName(section),
			Offset: at + abi.PluginRecordNameOff}},
			"plugin name %q is not 1 to %d printable characters without space and comma",
			bytes.TrimRight(field, "\x00"), abi.NameMax-1)
		return
	}
	p.plugin.Name = string(field[:end])
}

// readHooks reads the records of hooks. Their functions are relocations, because addresses are not known yet.
func (p *parser) readHooks(section int, pointers map[Offset]Relocation) {
	p.records(section, abi.HookRecordSize, func(at Offset, rec []byte) {
		h := Hook{ID: stage.Stage(le32(rec[abi.HookRecordHookOff:])),
			Priority: int32(le32(rec[abi.HookRecordPriorityOff:]))}
		place := []Place{{Section: p.sectionName(section), Offset: at}}
		if !h.ID.Known() {
			p.reportf(CodeHookID, place, "%v does not exist; known are 0x%x to 0x%x, and around a dump 0x%x and 0x%x",
				h.ID, uint32(stage.TaskCreated), uint32(stage.PreSigreturn), uint32(stage.PreDump),
				uint32(stage.Resumed))
			return
		}
		before := len(p.violations)
		h.Fn = p.recordFunc(section, at+abi.HookRecordFnOff, pointers, h.ID.String())
		if !h.Fn.Exists() && len(p.violations) == before {
			p.reportf(CodeHookFunction, place, "hook %v has no function", h.ID)
			return
		}
		p.plugin.Hooks = append(p.plugin.Hooks, h)
	})
}

// recordFunc resolves a function pointer of a record, which is a relocation; without one the pointer is null.
func (p *parser) recordFunc(section int, at Offset, pointers map[Offset]Relocation, what string) Func {
	r, ok := pointers[at]
	if !ok {
		return Func{}
	}
	fn, why := p.functionAt(r)
	if why != "" {
		p.report(Violation{
			Code:    CodeHookFunction,
			Message: fmt.Sprintf("%s does not point at a function: %s", what, why),
			Places:  []Place{{Section: p.sectionName(section), Offset: at}},
		})
	}
	return fn
}

// functionAt returns the function at which a 64-bit absolute relocation points, or the reason why it is not one.
func (p *parser) functionAt(r Relocation) (Func, string) {
	t := LookupReloc(p.plugin.Machine, r.Type)
	if t.Class != RelocDirect || t.Size != 8 || uint64(r.Symbol) >= uint64(len(p.plugin.Symbols)) {
		return Func{}, "relocation " + t.Name
	}
	sym := &p.plugin.Symbols[r.Symbol]
	label := p.symbolLabel(r.Symbol)
	if p.state[r.Symbol] == symUndefined || p.state[r.Symbol] == symWeak {
		return Func{}, fmt.Sprintf("`%s` is not defined", label)
	}
	if sym.Section < 0 || p.state[r.Symbol] != symDefined {
		return Func{}, fmt.Sprintf("`%s` is not part of the image", label)
	}
	sec := &p.plugin.Sections[sym.Section]
	off := sym.Value + uint64(r.Addend)
	switch {
	case sec.Flags&elf.SHF_EXECINSTR == 0:
		return Func{}, fmt.Sprintf("`%s` is in section %s, which is not executable", label, clip(sec.Name))
	case off >= sec.Size:
		return Func{}, fmt.Sprintf("`%s`+0x%x is outside section %s", label, r.Addend, clip(sec.Name))
	}
	name := sym.Name
	if sym.Type == elf.STT_SECTION {
		f, _ := p.plugin.functions().find(sec.Index, off)
		name = f.name
	}
	return Func{Section: int(sym.Section), Offset: Offset(off), Symbol: name, set: true}, ""
}
