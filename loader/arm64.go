package loader

import (
	"debug/elf"
	"fmt"
	"strings"
)

// Instruction patterns of the Arm Architecture Reference Manual, C4.1 "A64 instruction set encoding".
var (
	insnMovw  = insn{0x1f800000, 0x12800000, "MOVN, MOVZ or MOVK"}
	insnLit   = insn{0x3b000000, 0x18000000, "LDR (literal)"}
	insnAdr   = insn{0x9f000000, 0x10000000, "ADR"}
	insnAdrp  = insn{0x9f000000, 0x90000000, "ADRP"}
	insnAdd   = insn{0x5fc00000, 0x11000000, "ADD (immediate)"}
	insnLd8   = insn{0xfb000000, 0x39000000, "8-bit LDR or STR (unsigned offset)"}
	insnLd16  = insn{0xfb000000, 0x79000000, "16-bit LDR or STR (unsigned offset)"}
	insnLd32  = insn{0xfb000000, 0xb9000000, "32-bit LDR or STR (unsigned offset)"}
	insnLd64  = insn{0xfb000000, 0xf9000000, "64-bit LDR or STR (unsigned offset)"}
	insnLd128 = insn{0xff800000, 0x3d800000, "128-bit LDR or STR (unsigned offset)"}
	insnLdX   = insn{0xffc00000, 0xf9400000, "LDR Xt (unsigned offset)"}
	insnTb    = insn{0x7e000000, 0x36000000, "TBZ or TBNZ"}
	insnCond  = insn{0x7e000000, 0x34000000, "B.cond, CBZ or CBNZ"} // B.cond has another pattern, see fits
	insnB     = insn{0x7c000000, 0x14000000, "B or BL"}
)

// Relocation types of AAELF64 (ARM-software/abi-aa, "Relocation"). debug/elf lacks 287..293, 314 and 315.
var arm64Relocs = [...]RelocType{
	0:   {Name: "R_AARCH64_NONE", Class: RelocNone},
	256: {Name: "R_AARCH64_NONE", Class: RelocNone}, // withdrawn number
	257: {Name: "R_AARCH64_ABS64", Class: RelocDirect, Size: 8},
	258: {Name: "R_AARCH64_ABS32", Class: RelocAbs32, Size: 4},
	259: {Name: "R_AARCH64_ABS16", Class: RelocAbs32, Size: 2},
	260: {Name: "R_AARCH64_PREL64", Class: RelocDirect, Size: 8},
	261: {Name: "R_AARCH64_PREL32", Class: RelocDirect, Size: 4},
	262: {Name: "R_AARCH64_PREL16", Class: RelocDirect, Size: 2},
	263: {Name: "R_AARCH64_MOVW_UABS_G0", Class: RelocDirect, Size: 4, insn: insnMovw},
	264: {Name: "R_AARCH64_MOVW_UABS_G0_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	265: {Name: "R_AARCH64_MOVW_UABS_G1", Class: RelocDirect, Size: 4, insn: insnMovw},
	266: {Name: "R_AARCH64_MOVW_UABS_G1_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	267: {Name: "R_AARCH64_MOVW_UABS_G2", Class: RelocDirect, Size: 4, insn: insnMovw},
	268: {Name: "R_AARCH64_MOVW_UABS_G2_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	269: {Name: "R_AARCH64_MOVW_UABS_G3", Class: RelocDirect, Size: 4, insn: insnMovw},
	270: {Name: "R_AARCH64_MOVW_SABS_G0", Class: RelocDirect, Size: 4, insn: insnMovw},
	271: {Name: "R_AARCH64_MOVW_SABS_G1", Class: RelocDirect, Size: 4, insn: insnMovw},
	272: {Name: "R_AARCH64_MOVW_SABS_G2", Class: RelocDirect, Size: 4, insn: insnMovw},
	273: {Name: "R_AARCH64_LD_PREL_LO19", Class: RelocDirect, Size: 4, insn: insnLit},
	274: {Name: "R_AARCH64_ADR_PREL_LO21", Class: RelocDirect, Size: 4, insn: insnAdr},
	275: {Name: "R_AARCH64_ADR_PREL_PG_HI21", Class: RelocDirect, Size: 4, insn: insnAdrp},
	276: {Name: "R_AARCH64_ADR_PREL_PG_HI21_NC", Class: RelocDirect, Size: 4, insn: insnAdrp},
	277: {Name: "R_AARCH64_ADD_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnAdd},
	278: {Name: "R_AARCH64_LDST8_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnLd8},
	279: {Name: "R_AARCH64_TSTBR14", Class: RelocDirect, Size: 4, insn: insnTb},
	280: {Name: "R_AARCH64_CONDBR19", Class: RelocDirect, Size: 4, insn: insnCond},
	282: {Name: "R_AARCH64_JUMP26", Class: RelocDirect, Size: 4, insn: insnB},
	283: {Name: "R_AARCH64_CALL26", Class: RelocDirect, Size: 4, insn: insnB},
	284: {Name: "R_AARCH64_LDST16_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnLd16},
	285: {Name: "R_AARCH64_LDST32_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnLd32},
	286: {Name: "R_AARCH64_LDST64_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnLd64},
	287: {Name: "R_AARCH64_MOVW_PREL_G0", Class: RelocDirect, Size: 4, insn: insnMovw},
	288: {Name: "R_AARCH64_MOVW_PREL_G0_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	289: {Name: "R_AARCH64_MOVW_PREL_G1", Class: RelocDirect, Size: 4, insn: insnMovw},
	290: {Name: "R_AARCH64_MOVW_PREL_G1_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	291: {Name: "R_AARCH64_MOVW_PREL_G2", Class: RelocDirect, Size: 4, insn: insnMovw},
	292: {Name: "R_AARCH64_MOVW_PREL_G2_NC", Class: RelocDirect, Size: 4, insn: insnMovw},
	293: {Name: "R_AARCH64_MOVW_PREL_G3", Class: RelocDirect, Size: 4, insn: insnMovw},
	299: {Name: "R_AARCH64_LDST128_ABS_LO12_NC", Class: RelocDirect, Size: 4, insn: insnLd128},
	300: {Name: "R_AARCH64_MOVW_GOTOFF_G0", Class: RelocGOT, Size: 4, insn: insnMovw},
	301: {Name: "R_AARCH64_MOVW_GOTOFF_G0_NC", Class: RelocGOT, Size: 4, insn: insnMovw},
	302: {Name: "R_AARCH64_MOVW_GOTOFF_G1", Class: RelocGOT, Size: 4, insn: insnMovw},
	303: {Name: "R_AARCH64_MOVW_GOTOFF_G1_NC", Class: RelocGOT, Size: 4, insn: insnMovw},
	304: {Name: "R_AARCH64_MOVW_GOTOFF_G2", Class: RelocGOT, Size: 4, insn: insnMovw},
	305: {Name: "R_AARCH64_MOVW_GOTOFF_G2_NC", Class: RelocGOT, Size: 4, insn: insnMovw},
	306: {Name: "R_AARCH64_MOVW_GOTOFF_G3", Class: RelocGOT, Size: 4, insn: insnMovw},
	307: {Name: "R_AARCH64_GOTREL64", Class: RelocGOTBase, Size: 8},
	308: {Name: "R_AARCH64_GOTREL32", Class: RelocGOTBase, Size: 4},
	309: {Name: "R_AARCH64_GOT_LD_PREL19", Class: RelocGOT, Size: 4, insn: insnLit},
	310: {Name: "R_AARCH64_LD64_GOTOFF_LO15", Class: RelocGOT, Size: 4, insn: insnLdX},
	311: {Name: "R_AARCH64_ADR_GOT_PAGE", Class: RelocGOT, Size: 4, insn: insnAdrp},
	312: {Name: "R_AARCH64_LD64_GOT_LO12_NC", Class: RelocGOT, Size: 4, insn: insnLdX},
	313: {Name: "R_AARCH64_LD64_GOTPAGE_LO15", Class: RelocGOT, Size: 4, insn: insnLdX},
	314: {Name: "R_AARCH64_PLT32", Class: RelocDirect, Size: 4},
	315: {Name: "R_AARCH64_GOTPCREL32", Class: RelocGOT, Size: 4},
}

// lookupArm64 names the types that are only ever refused: TLS 512..573, PAuth ABI extension 0x244.., dynamic 1024...
func lookupArm64(typ uint32) RelocType {
	r := RelocType{Name: elf.R_AARCH64(typ).String()}
	if !strings.HasPrefix(r.Name, "R_") {
		r.Name = fmt.Sprintf("EM_AARCH64 relocation %d", typ)
	}
	switch {
	case typ >= 512 && typ <= 573:
		r.Class = RelocTLS
	case typ >= 0x244 && typ <= 0x25f:
		r.Class, r.Name = RelocPAuth, fmt.Sprintf("R_AARCH64_AUTH relocation %d", typ)
	case typ >= 1024 && typ <= 1032:
		r.Class = RelocDynamic
	}
	return r
}

// fits reports whether an instruction word is one that the pattern stands for.
func (i insn) fits(word uint32) bool {
	if i == insnCond {
		return word&0xff000000 == 0x54000000 || word&0x7e000000 == 0x34000000
	}
	return word&i.mask == i.value
}
