package loader

import "debug/elf"

// grpComdat is GRP_COMDAT, gABI "Section Groups". In a single object every COMDAT group is the one that is kept.
const grpComdat = 1

// checkGroups holds SHT_GROUP sections to the gABI: a flag word, then members, each in one group only.
func (p *parser) checkGroups() bool {
	var member map[uint32]int
	for i := range p.shdrs {
		if elf.SectionType(p.shdrs[i].Type) != elf.SHT_GROUP || p.roles[i] == roleRefused {
			continue
		}
		if member == nil {
			member = map[uint32]int{}
		}
		p.checkGroup(i, member)
	}
	return true
}

// checkGroup checks one section group, gABI "Section Groups": a word of flags, then the members.
func (p *parser) checkGroup(i int, member map[uint32]int) {
	raw, name := p.bytesOf(i), clip(p.sectionName(i))
	if len(raw) < 4 || len(raw)%4 != 0 {
		p.refuse(CodeGroup, i, "section group %s of %d bytes", name, len(raw))
		return
	}
	if flags := le32(raw); flags != 0 && flags != grpComdat {
		p.refuse(CodeGroup, i, "section group %s has the flags 0x%x, expected 0 or 1", name, flags)
		return
	}
	for raw = raw[4:]; len(raw) > 0; raw = raw[4:] {
		m := le32(raw)
		switch {
		case m == 0 || uint64(m) >= uint64(len(p.shdrs)):
			p.refuse(CodeGroup, i, "section group %s has section %d as a member, but there are %d", name,
				m, len(p.shdrs))
		case elf.SectionFlag(p.shdrs[m].Flags)&elf.SHF_GROUP == 0:
			p.refuse(CodeGroup, i, "section group %s has %s as a member, which lacks SHF_GROUP", name,
				clip(p.sectionName(int(m))))
		case member[m] != 0:
			p.refuse(CodeGroup, i, "section %s is in two groups", clip(p.sectionName(int(m))))
		default:
			member[m] = i
			continue
		}
		return
	}
}
