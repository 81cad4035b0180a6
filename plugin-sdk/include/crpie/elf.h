/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the SDK reads of ELF files and of memory that the dynamic linker made (System V ABI), under names of its own:
 * libc's <elf.h> and the kernel's <linux/elf.h> declare the same types differently, and a plugin may include either of
 * them, before or after this.
 */
#ifndef CRPIE_ELF_H
#define CRPIE_ELF_H

#include <stdint.h>

struct crpie_elf_ehdr {
	unsigned char e_ident[16];
	uint16_t e_type, e_machine;
	uint32_t e_version;
	uint64_t e_entry, e_phoff, e_shoff;
	uint32_t e_flags;
	uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};

struct crpie_elf_phdr {
	uint32_t p_type, p_flags;
	uint64_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};

struct crpie_elf_shdr {
	uint32_t sh_name, sh_type;
	uint64_t sh_flags, sh_addr, sh_offset, sh_size;
	uint32_t sh_link, sh_info;
	uint64_t sh_addralign, sh_entsize;
};

struct crpie_elf_sym {
	uint32_t st_name;
	unsigned char st_info, st_other;
	uint16_t st_shndx;
	uint64_t st_value, st_size;
};

struct crpie_elf_dyn {
	int64_t d_tag;
	union {
		uint64_t d_val, d_ptr;
	} d_un;
};

#define CRPIE_ST_BIND(info) ((info) >> 4)
#define CRPIE_ST_TYPE(info) ((info) & 15)

enum {
	CRPIE_PT_LOAD = 1,
	CRPIE_PT_DYNAMIC = 2,
	CRPIE_SHT_SYMTAB = 2,
	CRPIE_SHN_UNDEF = 0,
	CRPIE_STB_LOCAL = 0,
	CRPIE_STT_NOTYPE = 0,
	CRPIE_STT_OBJECT = 1,
	CRPIE_STT_FUNC = 2,
	CRPIE_STT_TLS = 6,
	CRPIE_STT_GNU_IFUNC = 10,
	CRPIE_DT_NULL = 0,
	CRPIE_DT_HASH = 4,
	CRPIE_DT_STRTAB = 5,
	CRPIE_DT_SYMTAB = 6,
	CRPIE_DT_STRSZ = 10,
	CRPIE_DT_DEBUG = 21,
	CRPIE_DT_GNU_HASH = 0x6ffffef5,
	CRPIE_DT_VERSYM = 0x6ffffff0,
};

#endif
