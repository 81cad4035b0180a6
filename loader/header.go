package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Sizes of the ELF64 structures, gABI "ELF Header" and "Section Header".
const (
	ehdrSize = 64
	shdrSize = 64
	symSize  = 24
)

// readHeader judges the file as a whole and decodes its header.
func (p *parser) readHeader() bool {
	if int64(len(p.data)) > p.opts.MaxFile {
		return p.stop(CodeTooLarge, "file of %d bytes exceeds the limit of %d", len(p.data), p.opts.MaxFile)
	}
	return p.checkMagic() && p.checkIdent() && p.decodeHeader() && p.checkHeader()
}

// checkMagic recognises what people give instead of an object.
func (p *parser) checkMagic() bool {
	d := p.data
	switch {
	case bytes.HasPrefix(d, []byte("\x7fELF")):
		if len(d) < ehdrSize {
			return p.stop(CodeHeader, "file of %d bytes is shorter than an ELF header (%d)", len(d),
				ehdrSize)
		}
		return true
	case bytes.HasPrefix(d, []byte("BC\xc0\xde")), bytes.HasPrefix(d, []byte("\xde\xc0\x17\x0b")):
		return p.stop(CodeBitcode, "LLVM bitcode (clang -flto), not machine code")
	case bytes.HasPrefix(d, []byte("!<arch>\n")), bytes.HasPrefix(d, []byte("!<thin>\n")):
		return p.stop(CodeArchive, "archive of objects, not one object")
	case len(d) == 0:
		return p.stop(CodeNotELF, "empty file")
	}
	return p.stop(CodeNotELF, "not an ELF object: begins with % x", d[:min(4, len(d))])
}

// checkIdent judges e_ident, whose meaning depends on nothing else.
func (p *parser) checkIdent() bool {
	class, order := elf.Class(p.data[elf.EI_CLASS]), elf.Data(p.data[elf.EI_DATA])
	machine := elf.Machine(le16(p.data[18:]))
	switch {
	case class == elf.ELFCLASS32 && machine == elf.EM_X86_64:
		return p.stop(CodeClass, "32-bit object for x86-64 (-mx32)")
	case class == elf.ELFCLASS32 && machine == elf.EM_386:
		return p.stop(CodeClass, "32-bit object for 80386 (-m32)")
	case class != elf.ELFCLASS64:
		return p.stop(CodeClass, "%v object, ELFCLASS64 is needed", class)
	case order == elf.ELFDATA2MSB && binary.BigEndian.Uint16(p.data[18:]) == uint16(elf.EM_AARCH64):
		return p.stop(CodeByteOrder, "big-endian object (aarch64_be)")
	case order != elf.ELFDATA2LSB:
		return p.stop(CodeByteOrder, "byte order %v, ELFDATA2LSB is needed", order)
	}
	// Anything GNU in the object (IFUNC, STB_GNU_UNIQUE, SHF_GNU_RETAIN) makes assemblers write ELFOSABI_GNU.
	if abi := elf.OSABI(p.data[elf.EI_OSABI]); abi != elf.ELFOSABI_NONE && abi != elf.ELFOSABI_LINUX {
		return p.stop(CodeOSABI, "EI_OSABI is %v, not ELFOSABI_NONE or ELFOSABI_LINUX", abi)
	}
	return true
}

func (p *parser) decodeHeader() bool {
	// binary.Read of a fixed-size struct cannot fail on enough bytes.
	_, err := binary.Decode(p.data[:ehdrSize], binary.LittleEndian, &p.hdr)
	return err == nil
}

// checkHeader judges the fields that compilers set to constants, then the machine.
func (p *parser) checkHeader() bool {
	h := &p.hdr
	switch typ := elf.Type(h.Type); typ {
	case elf.ET_REL:
	case elf.ET_EXEC:
		return p.stop(CodeLinked, "linked executable (ET_EXEC), not a relocatable object")
	case elf.ET_DYN:
		return p.stop(CodeLinked, "shared object or executable (ET_DYN), not a relocatable object")
	default:
		return p.stop(CodeLinked, "%v file, not a relocatable object (ET_REL)", typ)
	}
	if !p.checkMachine() {
		return false
	}
	for _, field := range []struct {
		name      string
		got, want uint64
	}{
		{"e_version", uint64(h.Version), uint64(elf.EV_CURRENT)},
		{"e_ehsize", uint64(h.Ehsize), ehdrSize},
		{"e_shentsize", uint64(h.Shentsize), shdrSize},
		{"e_phnum", uint64(h.Phnum), 0},
		{"e_entry", h.Entry, 0},
	} {
		if field.got != field.want {
			return p.stop(CodeHeader, "%s is 0x%x, expected 0x%x", field.name, field.got, field.want)
		}
	}
	if h.Flags != 0 {
		p.reportf(CodeFlags, nil, "e_flags is 0x%x; no flag is defined for %v", h.Flags, p.plugin.Machine)
	}
	return true
}

// checkMachine accepts machines that the relocator knows, and of these the one that was asked for.
func (p *parser) checkMachine() bool {
	m := elf.Machine(p.hdr.Machine)
	if relocTable(m) == nil {
		return p.stop(CodeMachine, "object for %v; supported are EM_X86_64 and EM_AARCH64", m)
	}
	if p.opts.Machine != 0 && m != p.opts.Machine {
		return p.stop(CodeMachine, "object for %v, but the target is %v", m, p.opts.Machine)
	}
	p.plugin.Machine = m
	return true
}
