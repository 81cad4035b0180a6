/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of the restored program one after the other: the program, its libraries, the dynamic linker. A process
 * may have a library twice, or a copy of its functions in the program; <crpie/symbols.h> finds the first one only.
 *
 *	struct crpie_objects it = { 0 };
 *	struct crpie_symbol sym;
 *
 *	while (crpie_objects_next(ctx, &it))
 *		if (crpie_objects_symbol(ctx, &it, "RAND_poll", &sym) == 0)
 *			pr_info(ctx, "%s has it", it.path);
 *
 * What was loaded by dlmopen(3) into a namespace of its own is not among them.
 */
#ifndef CRPIE_OBJECTS_H
#define CRPIE_OBJECTS_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/elf.h>
#include <crpie/string.h>
#include <crpie/symbols.h>
#include <crpie/symtab.h>
#include <crpie/syscall.h>
#include <crpie/vma.h>

enum {
	CRPIE_OBJECTS_START = 0,
	CRPIE_OBJECTS_LIBRARIES,
	CRPIE_OBJECTS_INTERPRETER, /* a program without a list of libraries */
	CRPIE_OBJECTS_DONE,
};

struct crpie_objects {
	struct crpie_object obj; /* its dynamic symbols; obj.symtab is 0 if it has none */
	const char *path;        /* the file that is mapped there, as in crpie_vma */
	uint64_t headers;        /* address of its ELF header */
	/* The rest is the walk's own. */
	const void *file;
	uint64_t size, map;
	unsigned int state, nr;
};

static inline void crpie_objects_unmap(struct crpie_objects *it)
{
	if (it->file != NULL)
		sys_munmap((void *)(uintptr_t)it->file, it->size);
	it->file = NULL;
}

/* Ends a walk before its end: the file of the object may be mapped. */
static inline void crpie_objects_end(struct crpie_objects *it)
{
	crpie_objects_unmap(it);
	it->state = CRPIE_OBJECTS_DONE;
}

static inline int crpie_objects_at(const struct crpie_ctx *ctx, struct crpie_objects *it, uint64_t headers)
{
	const struct crpie_vma *vma = crpie_vma_find(ctx, headers);

	it->headers = headers;
	it->path = vma != NULL ? vma->name : "";
	return 1;
}

/* A static program has headers and no dynamic section; it is an object as well. */
static inline int crpie_objects_program(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	uint64_t map;

	if (crpie_object_program(ctx, &it->obj) != 0)
		it->obj.symtab = it->obj.hash = it->obj.gnu_hash = it->obj.debug = 0;
	map = it->obj.debug != 0 ? crpie_link_map_first(ctx, it->obj.debug) : 0;
	it->map = map != 0 ? crpie_link_map_next(ctx, map) : 0; /* the first is the program */
	it->state = map != 0 ? CRPIE_OBJECTS_LIBRARIES : CRPIE_OBJECTS_INTERPRETER;
	return crpie_objects_at(ctx, it, crpie_auxv(ctx, AT_PHDR) - sizeof(struct crpie_elf_ehdr));
}

/* The next one of struct link_map, <link.h>, that has symbols. */
static inline int crpie_objects_library(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	while (it->map != 0 && it->nr++ < CRPIE_MAX_OBJECTS) {
		uint64_t map = it->map;

		it->map = crpie_link_map_next(ctx, map);
		it->obj.name = "";
		if (crpie_link_map_read(ctx, map, &it->obj) == 0)
			return crpie_objects_at(ctx, it, it->obj.bias); /* libraries are linked for address 0 */
	}
	it->state = CRPIE_OBJECTS_DONE;
	return 0;
}

static inline int crpie_objects_interpreter(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	it->state = CRPIE_OBJECTS_DONE;
	return crpie_object_interpreter(ctx, &it->obj) == 0 && crpie_objects_at(ctx, it, crpie_auxv(ctx, AT_BASE));
}

/* Goes to the next object; 0 after the last one. */
static inline int crpie_objects_next(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	crpie_objects_unmap(it);
	if (it->state == CRPIE_OBJECTS_START)
		return crpie_objects_program(ctx, it);
	if (it->state == CRPIE_OBJECTS_LIBRARIES)
		return crpie_objects_library(ctx, it);
	return it->state == CRPIE_OBJECTS_INTERPRETER && crpie_objects_interpreter(ctx, it);
}

/*
 * Looks name up in this object, among its dynamic symbols and then in the symbol table of its file. 0, or a negative
 * errno as of crpie_symtab_find.
 */
static inline int crpie_objects_symbol(const struct crpie_ctx *ctx, struct crpie_objects *it, const char *name,
				       struct crpie_symbol *out)
{
	int err = 0;

	if (crpie_object_lookup(ctx, &it->obj, name, out))
		return 0;
	if (it->file == NULL)
		err = crpie_symtab_map(ctx, it->headers, &it->file, &it->size);
	return err != 0 ? err : crpie_symtab_search(it->file, it->size, it->headers, name, out);
}

#endif
