/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patch: writes bytes at a symbol or an address of the program, if those that it expects are there.
 *
 *	crpie restore -D images --pie-plugin patch.o,symbol=limit,type=u32,old=100,new=5000
 *	crpie restore -D images --pie-plugin patch.o,symbol=check,old=0fb6c0c3,new=31c090c3
 *	crpie restore -D images --pie-plugin patch.o,symbol=endpoint,type=string,old=db-1,new=db-2
 *
 * Nothing is written if anything else is there. docs/plugins.md has the rest.
 */
#include <crpie/objects.h>

#include "ready.h"

#define BYTES_MAX 4096

struct bytes {
	unsigned char data[BYTES_MAX];
	size_t len;
};

/* --- What is written: old= and new= as type= says --- */

static int hex(const struct crpie_ctx *ctx, const char *key, const char *text, struct bytes *out)
{
	size_t len = crpie_strlen(text), i;

	for (i = 0; i < len; i++)
		if (crpie_digit(text[i]) > 15)
			break;
	if (i < len || len == 0 || len % 2 != 0 || len / 2 > sizeof(out->data)) {
		pr_err(ctx, "%s=%s: want pairs of hexadecimal digits, for 1 to %d bytes; type=string takes text", key,
		       text, BYTES_MAX);
		return -EINVAL;
	}
	for (i = 0; i < len / 2; i++)
		out->data[i] = (unsigned char)(crpie_digit(text[2 * i]) << 4 | crpie_digit(text[2 * i + 1]));
	out->len = len / 2;
	return 0;
}

/* Both machines are little-endian. */
static int number(const struct crpie_ctx *ctx, const char *key, unsigned int bits, struct bytes *out)
{
	uint64_t max = UINT64_MAX >> (64 - bits), value = 0;
	int err = crpie_param_u64(ctx, key, 0, max, &value);

	if (err != 0) {
		pr_err(ctx, "%s=%s: want a number of 0 to %lu", key, crpie_param(ctx, key), max);
		return err;
	}
	crpie_memcpy(out->data, &value, sizeof(value));
	out->len = bits / 8;
	return 0;
}

static int string(const struct crpie_ctx *ctx, const char *key, const char *text, struct bytes *out)
{
	if (crpie_strlcpy((char *)out->data, text, sizeof(out->data)) >= sizeof(out->data)) {
		pr_err(ctx, "%s is longer than %d bytes", key, BYTES_MAX - 1);
		return -ENAMETOOLONG;
	}
	out->len = crpie_strlen(text) + 1;
	return 0;
}

static int bytes_of(const struct crpie_ctx *ctx, const char *key, struct bytes *out)
{
	const char *type = crpie_param(ctx, "type"), *text = crpie_param(ctx, key);

	crpie_memset(out->data, 0, sizeof(out->data));
	if (crpie_strcmp(type, "hex") == 0)
		return hex(ctx, key, text, out);
	if (crpie_strcmp(type, "string") == 0)
		return string(ctx, key, text, out);
	return number(ctx, key, type[1] == '8' ? 8 : (unsigned int)(type[1] - '0') * 10 + (unsigned int)(type[2] - '0'),
		      out);
}

/* Zeros lie behind both texts, as behind a shorter one in its variable. */
static int both_of(const struct crpie_ctx *ctx, struct bytes *old, struct bytes *new)
{
	int err = bytes_of(ctx, "old", old);

	if (err == 0)
		err = bytes_of(ctx, "new", new);
	if (err != 0)
		return err;
	if (crpie_strcmp(crpie_param(ctx, "type"), "string") == 0)
		old->len = new->len = old->len > new->len ? old->len : new->len;
	if (old->len == new->len)
		return 0;
	pr_err(ctx, "old has %zu bytes and new %zu: want as many", old->len, new->len);
	return -EINVAL;
}

/* --- Where --- */

static int in_file(const struct crpie_ctx *ctx, const char *library, const char *name, struct crpie_symbol *sym)
{
	struct crpie_objects it = { 0 };
	int err = -ESRCH;

	if (library == NULL)
		return crpie_symtab_find(ctx, name, sym);
	while (err == -ESRCH && crpie_objects_next(ctx, &it))
		if (crpie_object_is(it.path, library))
			err = crpie_objects_symbol(ctx, &it, name, sym);
	crpie_objects_end(&it);
	return err;
}

/* What the dynamic linker would find comes first, then what only the file of the program or the library names. */
static int find(const struct crpie_ctx *ctx, const char *name, struct crpie_symbol *sym)
{
	const char *library = crpie_param(ctx, "library");
	int err = crpie_symbol_find(ctx, library, name, sym) ? 0 : in_file(ctx, library, name, sym);

	if (err == 0)
		return 0;
	if (err == -ESRCH) {
		pr_lack(ctx, "%s has no symbol %s in %s: is it stripped? addr= takes an address", ctx->comm, name,
			library != NULL ? library : "its exported ones, nor in its file");
		return ready_missing(ctx);
	}
	if (err == -EEXIST)
		pr_err(ctx, "there are several static symbols %s: addr= takes an address", name);
	else
		pr_perror(ctx, err, "symbol %s: the file cannot be searched", name);
	return err;
}

static int place(const struct crpie_ctx *ctx, struct crpie_symbol *sym)
{
	const char *name = crpie_param(ctx, "symbol");
	uint64_t offset = 0;
	int err = 0;

	crpie_param_u64(ctx, "offset", 0, UINT32_MAX, &offset);
	crpie_param_u64(ctx, "addr", 1, UINT64_MAX, &sym->addr);
	if (name != NULL)
		err = find(ctx, name, sym);
	if (err != 0)
		return err;
	if (sym->size != 0 && offset >= sym->size) {
		pr_err(ctx, "offset=%lu is behind the end of %s, which has %lu bytes", offset, name, sym->size);
		return -ERANGE;
	}
	sym->addr += offset;
	sym->size -= sym->size != 0 ? offset : 0;
	return 0;
}

/* --- The write --- */

static void say(const struct crpie_ctx *ctx, const unsigned char *found, const struct bytes *old)
{
	size_t at = 0, n;
	char text[2 * 16 + 1];

	while (found[at] == old->data[at])
		at++;
	for (n = 0; n < 16 && at + n < old->len; n++)
		crpie_snprintf(text + 2 * n, 3, "%02x", found[at + n]);
	pr_err(ctx, "%s at %p has other bytes than old=, from byte %zu on: %s", ctx->comm, (const void *)found, at,
	       text);
}

static int check(const struct crpie_ctx *ctx, const struct crpie_symbol *sym, const struct bytes *old)
{
	const unsigned char *found = (const unsigned char *)(uintptr_t)sym->addr;

	if (sym->size != 0 && old->len > sym->size) {
		pr_err(ctx, "%zu bytes do not fit into the %lu that are there", old->len, sym->size);
		return -ERANGE;
	}
	if (!crpie_vma_covers(ctx, sym->addr, old->len, CRPIE_PROT_READ)) {
		pr_err(ctx, "0x%lx is not readable memory of %s", sym->addr, ctx->comm);
		return -EFAULT;
	}
	if (crpie_memcmp(found, old->data, old->len) == 0)
		return 0;
	say(ctx, found, old);
	return -ESTALE;
}

/*
 * Writes the part of it that lies in one mapping. Read-only memory of the program's own, such as code, is writable and
 * not executable meanwhile: no thread runs in it. What is shared with a file or with others stays as it is.
 */
static int write_part(const struct crpie_ctx *ctx, const struct crpie_vma *vma, uint64_t addr, const void *from,
		      size_t len)
{
	uint64_t page = crpie_auxv(ctx, AT_PAGESZ), start = addr & -page, end = (addr + len + page - 1) & -page;
	long err;

	if ((vma->prot & CRPIE_PROT_WRITE) != 0) {
		crpie_memcpy((void *)(uintptr_t)addr, from, len);
		return 0;
	}
	err = sys_mprotect((void *)(uintptr_t)start, end - start, CRPIE_PROT_READ | CRPIE_PROT_WRITE);
	if (err != 0) {
		pr_perror(ctx, err, "mprotect of 0x%lx", start);
		return (int)err;
	}
	crpie_memcpy((void *)(uintptr_t)addr, from, len);
	err = sys_mprotect((void *)(uintptr_t)start, end - start, (int)vma->prot);
	if (err != 0)
		pr_perror(ctx, err, "mprotect of 0x%lx", start);
	return (int)err;
}

#define MAP_KIND 0x0f /* MAP_TYPE of mmap(2) */
#define MAP_OWN 0x02  /* MAP_PRIVATE */

static int may_write(const struct crpie_ctx *ctx, uint64_t addr, uint64_t len)
{
	const struct crpie_vma *vma;

	for (; len != 0; len -= vma->end - addr < len ? vma->end - addr : len, addr = vma->end) {
		vma = crpie_vma_find(ctx, addr);
		if ((vma->prot & CRPIE_PROT_WRITE) != 0 || (vma->flags & MAP_KIND) == MAP_OWN)
			continue;
		pr_err(ctx, "0x%lx is read-only memory that %s shares with others", addr, ctx->comm);
		return -EACCES;
	}
	return 0;
}

static int write_all(const struct crpie_ctx *ctx, uint64_t addr, const struct bytes *new)
{
	int err = may_write(ctx, addr, new->len);
	size_t at = 0;

	while (err == 0 && at < new->len) {
		const struct crpie_vma *vma = crpie_vma_find(ctx, addr + at);
		size_t len = new->len - at, room = vma->end - (addr + at);

		len = len < room ? len : room;
		err = write_part(ctx, vma, addr + at, new->data + at, len);
		at += len;
	}
	return err;
}

static int patch(struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	struct bytes old, new;
	int err = both_of(ctx, &old, &new);

	if (err == 0)
		err = place(ctx, &sym);
	if (err == 0)
		err = check(ctx, &sym, &old);
	if (err == 0)
		err = write_all(ctx, sym.addr, &new);
	if (err == 0)
		pr_info(ctx, "%zu bytes written at 0x%lx", new.len, sym.addr);
	return err;
}

CR_PLUGIN_REGISTER_DUMMY("patch")
CRPIE_PARAM_ONE_OF("symbol addr", CRPIE_REQUIRED)
CRPIE_PARAM_STR("symbol", CRPIE_OPTIONAL, "name of a function or variable")
CRPIE_PARAM_STR("library", CRPIE_OPTIONAL, "what the file name of the library begins with that has the symbol")
CRPIE_PARAM_INT("addr", CRPIE_OPTIONAL, 1, UINT64_MAX, "an address")
CRPIE_PARAM_INT("offset", CRPIE_OPTIONAL, 0, UINT32_MAX, "bytes from there on")
CRPIE_PARAM_ENUM("type", CRPIE_DEFAULT("hex"), "hex string u8 u16 u32 u64", "of old and new")
CRPIE_PARAM_STR("old", CRPIE_REQUIRED, "what is expected there")
CRPIE_PARAM_STR("new", CRPIE_REQUIRED, "what is written")
READY_MISSING
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, patch)
