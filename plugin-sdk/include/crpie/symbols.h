/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding functions and variables of the restored program by name, from PIE_RST_POST_MEMORY on.
 *
 * What is searched is what the dynamic linker itself would search: the dynamic symbols of the program and its
 * libraries, in the order in which they were loaded (System V ABI, "Dynamic Linking"; glibc's and musl's struct
 * r_debug). A program linked with -static has none; neither have variables that are not exported (gcc -rdynamic exports
 * them).
 *
 * Every address that is followed is looked up in ctx->vmas first, and every walk is bounded: a program that damaged its
 * own tables makes a lookup fail, not crash.
 */
#ifndef CRPIE_SYMBOLS_H
#define CRPIE_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>
#include <linux/auxvec.h>

#include <crpie/abi.h>
#include <crpie/elf.h>
#include <crpie/string.h>
#include <crpie/vma.h>

#define CRPIE_VERSYM_HIDDEN 0x8000u

#define CRPIE_MAX_OBJECTS 4096  /* programs with more libraries than this are damaged */
#define CRPIE_MAX_CHAIN 1000000 /* likewise symbols in one hash chain */

struct crpie_symbol {
	uint64_t addr;
	uint64_t size;
	unsigned int type; /* CRPIE_STT_OBJECT, CRPIE_STT_FUNC … */
};

/* One loaded object: its load bias and the tables its dynamic section names. */
struct crpie_object {
	uint64_t bias;
	const char *name; /* path, "" for the program itself */
	uint64_t symtab, strtab, strsz, hash, gnu_hash, versym, debug;
};

static inline uint64_t crpie_auxv(const struct crpie_ctx *ctx, uint64_t type)
{
	uint64_t i;

	for (i = 0; i + 1 < ctx->mm->auxv_words && ctx->mm->auxv[i] != AT_NULL; i += 2)
		if (ctx->mm->auxv[i] == type)
			return ctx->mm->auxv[i + 1];
	return 0;
}

/* Copies len bytes of the program's memory, or returns -1. */
static inline int crpie_peek(const struct crpie_ctx *ctx, uint64_t addr, void *to, uint64_t len)
{
	if (!crpie_vma_covers(ctx, addr, len, CRPIE_PROT_READ))
		return -1;
	crpie_memcpy(to, (const void *)(uintptr_t)addr, len);
	return 0;
}

/* 0 where nothing can be read: no table that is searched here begins at address 0. */
static inline uint64_t crpie_peek64(const struct crpie_ctx *ctx, uint64_t addr)
{
	uint64_t v = 0;

	return crpie_peek(ctx, addr, &v, sizeof(v)) == 0 ? v : 0;
}

static inline uint32_t crpie_peek32(const struct crpie_ctx *ctx, uint64_t addr)
{
	uint32_t v = 0;

	return crpie_peek(ctx, addr, &v, sizeof(v)) == 0 ? v : 0;
}

static inline int crpie_peek_equals(const struct crpie_ctx *ctx, uint64_t addr, const char *text)
{
	size_t len = crpie_strlen(text) + 1;

	return crpie_vma_covers(ctx, addr, len, CRPIE_PROT_READ) &&
	       crpie_memcmp((const void *)(uintptr_t)addr, text, len) == 0;
}

/* glibc adds the bias to the addresses in a writable dynamic section, musl does not; offsets are below every bias. */
static inline uint64_t crpie_dyn_addr(uint64_t value, uint64_t bias)
{
	return value < bias ? value + bias : value;
}

/* Reads the dynamic section at addr, at most max entries. */
static inline int crpie_object_read(const struct crpie_ctx *ctx, struct crpie_object *obj, uint64_t addr, uint64_t max)
{
	struct crpie_elf_dyn dyn;
	uint64_t i;

	obj->symtab = obj->strtab = obj->strsz = obj->hash = obj->gnu_hash = obj->versym = obj->debug = 0;
	for (i = 0; i < max; i++) {
		if (crpie_peek(ctx, addr + i * sizeof(dyn), &dyn, sizeof(dyn)) != 0)
			return -1;
		if (dyn.d_tag == CRPIE_DT_NULL)
			break;
		if (dyn.d_tag == CRPIE_DT_SYMTAB)
			obj->symtab = crpie_dyn_addr(dyn.d_un.d_val, obj->bias);
		else if (dyn.d_tag == CRPIE_DT_STRTAB)
			obj->strtab = crpie_dyn_addr(dyn.d_un.d_val, obj->bias);
		else if (dyn.d_tag == CRPIE_DT_STRSZ)
			obj->strsz = dyn.d_un.d_val;
		else if (dyn.d_tag == CRPIE_DT_HASH)
			obj->hash = crpie_dyn_addr(dyn.d_un.d_val, obj->bias);
		else if (dyn.d_tag == CRPIE_DT_GNU_HASH)
			obj->gnu_hash = crpie_dyn_addr(dyn.d_un.d_val, obj->bias);
		else if (dyn.d_tag == CRPIE_DT_VERSYM)
			obj->versym = crpie_dyn_addr(dyn.d_un.d_val, obj->bias);
		else if (dyn.d_tag == CRPIE_DT_DEBUG)
			obj->debug = dyn.d_un.d_val;
	}
	return obj->symtab != 0 && obj->strtab != 0 ? 0 : -1;
}

/*
 * Judges symbol number i: 1 if it is a definition of name that can be used by address. The resolver of an IFUNC and the
 * offset of a thread-local variable are no such addresses; a hidden version (name@OLD) is for old binaries only.
 */
static inline int crpie_symbol_try(const struct crpie_ctx *ctx, const struct crpie_object *obj, uint64_t i,
				   const char *name, struct crpie_symbol *out)
{
	struct crpie_elf_sym sym;
	uint16_t version = 0;

	if (crpie_peek(ctx, obj->symtab + i * sizeof(sym), &sym, sizeof(sym)) != 0)
		return 0;
	if (sym.st_shndx == CRPIE_SHN_UNDEF || sym.st_value == 0 || CRPIE_ST_BIND(sym.st_info) == CRPIE_STB_LOCAL)
		return 0;
	if (CRPIE_ST_TYPE(sym.st_info) == CRPIE_STT_TLS || CRPIE_ST_TYPE(sym.st_info) == CRPIE_STT_GNU_IFUNC)
		return 0;
	if (sym.st_name >= obj->strsz || !crpie_peek_equals(ctx, obj->strtab + sym.st_name, name))
		return 0;
	if (obj->versym != 0 && crpie_peek(ctx, obj->versym + i * 2, &version, 2) == 0 &&
	    (version & CRPIE_VERSYM_HIDDEN) != 0)
		return 0;
	out->addr = obj->bias + sym.st_value;
	out->size = sym.st_size;
	out->type = CRPIE_ST_TYPE(sym.st_info);
	return 1;
}

/* DT_HASH: nbucket, nchain, bucket[nbucket], chain[nchain]; System V ABI, "Hash Table". */
static inline int crpie_sysv_lookup(const struct crpie_ctx *ctx, const struct crpie_object *obj, const char *name,
				    struct crpie_symbol *out)
{
	uint32_t h = 0, g, nbucket = crpie_peek32(ctx, obj->hash), nchain = crpie_peek32(ctx, obj->hash + 4), i, n;
	const char *p;

	for (p = name; *p != '\0'; p++) {
		h = (h << 4) + (unsigned char)*p;
		g = h & 0xf0000000u;
		h = (h ^ (g >> 24)) & ~g;
	}
	if (nbucket == 0)
		return 0;
	i = crpie_peek32(ctx, obj->hash + 8 + (uint64_t)(h % nbucket) * 4);
	for (n = 0; i != 0 && i < nchain && n < CRPIE_MAX_CHAIN; n++) {
		if (crpie_symbol_try(ctx, obj, i, name, out))
			return 1;
		i = crpie_peek32(ctx, obj->hash + 8 + ((uint64_t)nbucket + i) * 4);
	}
	return 0;
}

/*
 * DT_GNU_HASH: nbuckets, symoffset, bloom_size, bloom_shift, bloom[bloom_size] (8 bytes each), buckets[nbuckets],
 * then one hash per symbol from symoffset on, whose lowest bit ends a chain.
 */
static inline int crpie_gnu_lookup(const struct crpie_ctx *ctx, const struct crpie_object *obj, const char *name,
				   struct crpie_symbol *out)
{
	uint32_t h = 5381, nbuckets = crpie_peek32(ctx, obj->gnu_hash),
		 symoffset = crpie_peek32(ctx, obj->gnu_hash + 4);
	uint64_t buckets = obj->gnu_hash + 16 + (uint64_t)crpie_peek32(ctx, obj->gnu_hash + 8) * 8, n, i;
	const char *p;

	for (p = name; *p != '\0'; p++)
		h = h * 33 + (unsigned char)*p;
	if (nbuckets == 0)
		return 0;
	i = crpie_peek32(ctx, buckets + (uint64_t)(h % nbuckets) * 4);
	for (n = 0; i >= symoffset && i != 0 && n < CRPIE_MAX_CHAIN; n++, i++) {
		uint32_t v = 0;
		if (crpie_peek(ctx, buckets + ((uint64_t)nbuckets + i - symoffset) * 4, &v, 4) != 0)
			return 0;
		if ((v | 1) == (h | 1) && crpie_symbol_try(ctx, obj, i, name, out))
			return 1;
		if (v & 1)
			break;
	}
	return 0;
}

static inline int crpie_object_lookup(const struct crpie_ctx *ctx, const struct crpie_object *obj, const char *name,
				      struct crpie_symbol *out)
{
	if (obj->gnu_hash != 0)
		return crpie_gnu_lookup(ctx, obj, name, out);
	return obj->hash != 0 && crpie_sysv_lookup(ctx, obj, name, out);
}

/* Reads the object whose program headers are at phdr; headers is the address of its ELF header. */
static inline int crpie_object_at(const struct crpie_ctx *ctx, struct crpie_object *obj, uint64_t headers,
				  uint64_t phdr, uint64_t phnum)
{
	uint64_t i, dynamic = 0, dynamic_len = 0;
	int have_bias = 0;
	struct crpie_elf_phdr ph;

	for (i = 0; i < phnum && i < 0xffff; i++) {
		if (crpie_peek(ctx, phdr + i * sizeof(ph), &ph, sizeof(ph)) != 0)
			return -1;
		if (ph.p_type == CRPIE_PT_LOAD && ph.p_offset == 0 && !have_bias) {
			obj->bias = headers - ph.p_vaddr;
			have_bias = 1;
		} else if (ph.p_type == CRPIE_PT_DYNAMIC) {
			dynamic = ph.p_vaddr;
			dynamic_len = ph.p_memsz / sizeof(struct crpie_elf_dyn);
		}
	}
	if (!have_bias || dynamic == 0)
		return -1;
	return crpie_object_read(ctx, obj, obj->bias + dynamic, dynamic_len);
}

/* The program itself; its ELF header lies right before its program headers in what every linker writes. */
static inline int crpie_object_program(const struct crpie_ctx *ctx, struct crpie_object *obj)
{
	uint64_t phdr = crpie_auxv(ctx, AT_PHDR), headers = phdr - sizeof(struct crpie_elf_ehdr);

	obj->name = "";
	if (crpie_peek32(ctx, headers) != 0x464c457f) /* "\177ELF" */
		return -1;
	return crpie_object_at(ctx, obj, headers, phdr, crpie_auxv(ctx, AT_PHNUM));
}

/* The dynamic linker, at AT_BASE; musl's is the C library too. */
static inline int crpie_object_interpreter(const struct crpie_ctx *ctx, struct crpie_object *obj)
{
	uint64_t base = crpie_auxv(ctx, AT_BASE);
	struct crpie_elf_ehdr ehdr;

	obj->name = "";
	if (base == 0 || crpie_peek(ctx, base, &ehdr, sizeof(ehdr)) != 0)
		return -1;
	return crpie_object_at(ctx, obj, base, base + ehdr.e_phoff, ehdr.e_phnum);
}

/* True if object is NULL, or the last part of path begins with it: "libc.so" matches /lib/libc.so.6. */
static inline int crpie_object_is(const char *path, const char *object)
{
	const char *slash = crpie_strrchr(path, '/');

	if (object == NULL)
		return 1;
	if (slash != NULL)
		path = slash + 1;
	return crpie_strncmp(path, object, crpie_strlen(object)) == 0;
}

/* struct r_debug { int version; struct link_map *map; … }; struct link_map { addr; name; ld; next; … }, <link.h>. */
static inline uint64_t crpie_link_map_first(const struct crpie_ctx *ctx, uint64_t r_debug)
{
	return crpie_peek64(ctx, r_debug + 8);
}

static inline uint64_t crpie_link_map_next(const struct crpie_ctx *ctx, uint64_t map)
{
	return crpie_peek64(ctx, map + 24);
}

/* Reads the object of a link_map, without its name. */
static inline int crpie_link_map_read(const struct crpie_ctx *ctx, uint64_t map, struct crpie_object *obj)
{
	obj->bias = crpie_peek64(ctx, map);
	return crpie_object_read(ctx, obj, crpie_peek64(ctx, map + 16), 1024);
}

static inline int crpie_link_map_lookup(const struct crpie_ctx *ctx, uint64_t r_debug, const char *object,
					const char *name, struct crpie_symbol *out)
{
	uint64_t map = crpie_link_map_first(ctx, r_debug);
	unsigned int n;

	for (n = 0; map != 0 && n < CRPIE_MAX_OBJECTS; n++, map = crpie_link_map_next(ctx, map)) {
		uint64_t path = crpie_peek64(ctx, map + 8), len = crpie_vma_readable(ctx, path, 4096);
		struct crpie_object obj;

		obj.name = crpie_memchr((const void *)(uintptr_t)path, 0, len) ? (const char *)(uintptr_t)path : "";
		if (crpie_object_is(obj.name, object) && crpie_link_map_read(ctx, map, &obj) == 0 &&
		    crpie_object_lookup(ctx, &obj, name, out))
			return 1;
	}
	return 0;
}

/*
 * Looks name up in the object whose file name begins with object ("libc.so"), or in all of them if object is NULL. The
 * program itself has the name "". Returns 1 and fills *out, or 0.
 */
static inline int crpie_symbol_find(const struct crpie_ctx *ctx, const char *object, const char *name,
				    struct crpie_symbol *out)
{
	struct crpie_object program, interpreter;
	int have_program = crpie_object_program(ctx, &program) == 0;

	if (have_program && program.debug != 0 && crpie_link_map_lookup(ctx, program.debug, object, name, out))
		return 1;
	if (object != NULL)
		return 0;
	if (have_program && crpie_object_lookup(ctx, &program, name, out))
		return 1;
	return crpie_object_interpreter(ctx, &interpreter) == 0 && crpie_object_lookup(ctx, &interpreter, name, out);
}

/* The address of name in the restored program or one of its libraries, or 0. */
static inline uint64_t crpie_symbol(const struct crpie_ctx *ctx, const char *name)
{
	struct crpie_symbol sym;

	return crpie_symbol_find(ctx, NULL, name, &sym) ? sym.addr : 0;
}

/*
 * errno of the thread that runs the hook, where glibc or musl keeps it. What calls into libc leaves it as it was, as a
 * signal handler does (signal-safety(7)): the thread may be about to read it. NULL where it cannot be found: before
 * PIE_RST_PRE_SIGRETURN_THREAD, and in a static program.
 */
static inline int *crpie_errno(const struct crpie_ctx *ctx)
{
	uint64_t location = 0;

	if (ctx->hook >= CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD)
		location = crpie_symbol(ctx, "__errno_location");
	if (!crpie_vma_covers(ctx, location, 1, CRPIE_PROT_READ | CRPIE_PROT_EXEC))
		return NULL;
	return ((int *(*)(void))(uintptr_t)location)();
}

#endif
