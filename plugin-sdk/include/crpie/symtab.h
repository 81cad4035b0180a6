/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding functions and variables of the restored program in the symbol table of its file: static ones, those that are
 * not exported, and those of programs linked with -static. <crpie/objects.h> searches the libraries' files, too.
 *
 * The file is opened with the privileges and in the root directory that the stage has, mapped for the duration of the
 * search, and used only if it begins with the same ELF header as the memory. It is input: nothing in it is trusted
 * without a bound.
 */
#ifndef CRPIE_SYMTAB_H
#define CRPIE_SYMTAB_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/elf.h>
#include <crpie/string.h>
#include <crpie/symbols.h>
#include <crpie/syscall.h>
#include <crpie/vma.h>

/* count entries of entry bytes at off, or NULL if the file does not have them. */
static inline const void *crpie_file_part(const void *file, uint64_t size, uint64_t off, uint64_t count, uint64_t entry)
{
	if (off > size || off % 8 != 0 || count > (size - off) / entry)
		return NULL;
	return (const unsigned char *)file + off;
}

/* 1 if text at offset off of the string table equals name. */
static inline int crpie_file_name_is(const char *strings, uint64_t size, uint64_t off, const char *name, size_t len)
{
	return off < size && size - off > len && crpie_memcmp(strings + off, name, len + 1) == 0;
}

static inline int crpie_symtab_scan(const struct crpie_elf_sym *syms, uint64_t nr, const char *strings,
				    uint64_t strings_size, uint64_t bias, const char *name, struct crpie_symbol *out)
{
	size_t len = crpie_strlen(name);
	int found = 0;
	uint64_t i;

	for (i = 0; i < nr; i++) {
		unsigned int type = CRPIE_ST_TYPE(syms[i].st_info);

		if (syms[i].st_shndx == CRPIE_SHN_UNDEF ||
		    (type != CRPIE_STT_OBJECT && type != CRPIE_STT_FUNC && type != CRPIE_STT_NOTYPE) ||
		    !crpie_file_name_is(strings, strings_size, syms[i].st_name, name, len))
			continue;
		if (found && CRPIE_ST_BIND(syms[i].st_info) == CRPIE_STB_LOCAL && out->addr != bias + syms[i].st_value)
			return -EEXIST;
		found = 1;
		out->addr = bias + syms[i].st_value;
		out->size = syms[i].st_size;
		out->type = type;
		if (CRPIE_ST_BIND(syms[i].st_info) != CRPIE_STB_LOCAL)
			return 0;
	}
	return found ? 0 : -ESRCH;
}

/* Searches an ELF file in memory whose header lies at address headers of the program. */
static inline int crpie_symtab_search(const void *file, uint64_t size, uint64_t headers, const char *name,
				      struct crpie_symbol *out)
{
	const struct crpie_elf_ehdr *ehdr =
		(const struct crpie_elf_ehdr *)crpie_file_part(file, size, 0, 1, sizeof(*ehdr));
	const struct crpie_elf_phdr *ph;
	const struct crpie_elf_shdr *sh;
	uint64_t bias = headers, i;

	if (ehdr == NULL)
		return -ENOEXEC;
	ph = (const struct crpie_elf_phdr *)crpie_file_part(file, size, ehdr->e_phoff, ehdr->e_phnum, sizeof(*ph));
	sh = (const struct crpie_elf_shdr *)crpie_file_part(file, size, ehdr->e_shoff, ehdr->e_shnum, sizeof(*sh));
	if (ph == NULL || sh == NULL || ehdr->e_phentsize != sizeof(*ph) || ehdr->e_shentsize != sizeof(*sh))
		return -ENOEXEC;
	for (i = 0; i < ehdr->e_phnum; i++)
		if (ph[i].p_type == CRPIE_PT_LOAD && ph[i].p_offset == 0)
			bias = headers - ph[i].p_vaddr;
	for (i = 0; i < ehdr->e_shnum; i++) {
		const struct crpie_elf_sym *syms;
		const struct crpie_elf_shdr *str;

		if (sh[i].sh_type != CRPIE_SHT_SYMTAB || sh[i].sh_link >= ehdr->e_shnum)
			continue;
		str = &sh[sh[i].sh_link];
		syms = (const struct crpie_elf_sym *)crpie_file_part(file, size, sh[i].sh_offset,
								     sh[i].sh_size / sizeof(*syms), sizeof(*syms));
		if (syms == NULL || str->sh_offset > size || str->sh_size > size - str->sh_offset)
			return -ENOEXEC;
		return crpie_symtab_scan(syms, sh[i].sh_size / sizeof(*syms), (const char *)file + str->sh_offset,
					 str->sh_size, bias, name, out);
	}
	return -ESRCH;
}

/*
 * Maps the file whose ELF header lies at address headers of the program; *size is its length. 0, -ESRCH (no file is
 * mapped there), -ESTALE (the file is not the one that was dumped), or why it cannot be opened. Undo it by munmap(2).
 */
static inline int crpie_symtab_map(const struct crpie_ctx *ctx, uint64_t headers, const void **file, uint64_t *size)
{
	const struct crpie_vma *vma = crpie_vma_find(ctx, headers);
	struct crpie_elf_ehdr mine;
	long fd, end;
	void *map;

	if (vma == NULL || vma->name[0] != '/' || crpie_peek(ctx, headers, &mine, sizeof(mine)) != 0)
		return -ESRCH;
	fd = sys_open(vma->name, 02000000 /* O_RDONLY | O_CLOEXEC */, 0);
	if (fd < 0)
		return (int)fd;
	end = sys_lseek((int)fd, 0, 2 /* SEEK_END */);
	*size = end > 0 ? (uint64_t)end : 1;
	map = sys_mmap(NULL, *size, 1 /* PROT_READ */, 2 /* MAP_PRIVATE */, (int)fd, 0);
	sys_close((int)fd);
	if (crpie_is_err((long)map))
		return (int)(long)map;
	*file = map;
	if (*size >= sizeof(mine) && crpie_memcmp(map, &mine, sizeof(mine)) == 0)
		return 0;
	sys_munmap(map, *size);
	return -ESTALE;
}

/*
 * Looks name up in the program's file. 0, or -ESRCH (no such symbol, or stripped), -EEXIST (several static ones of that
 * name), -ESTALE (the file is not the one that was dumped), -ENOEXEC (damaged), or why it cannot be opened.
 */
static inline int crpie_symtab_find(const struct crpie_ctx *ctx, const char *name, struct crpie_symbol *out)
{
	uint64_t headers = crpie_auxv(ctx, AT_PHDR) - sizeof(struct crpie_elf_ehdr), size = 0;
	const void *file = NULL;
	int err = crpie_symtab_map(ctx, headers, &file, &size);

	if (err != 0)
		return err;
	err = crpie_symtab_search(file, size, headers, name, out);
	sys_munmap((void *)(uintptr_t)file, size);
	return err;
}

#endif
