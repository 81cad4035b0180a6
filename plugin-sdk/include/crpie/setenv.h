/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets an environment variable to a value of any length, or one that is not there: as the program's own setenv(3) does,
 * by libc's variable environ (environ(7)), which getenv(3) follows. <crpie/env.h> changes the strings of execve(2) in
 * place, and has no use for libc.
 *
 * A variable that the program has set itself is found, too. Not changed are /proc/PID/environ, copies that the program
 * has made, as os.environ of Python, and environments without libc, as Go's. The memory stays in the program, a page or
 * more for each call; what it replaces is left as it is, because a pointer to it may be somewhere.
 *
 * From PIE_RST_POST_MEMORY on; other threads stand still then. Two clones of one checkpoint have nothing in common.
 */
#ifndef CRPIE_SETENV_H
#define CRPIE_SETENV_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/keep.h>
#include <crpie/string.h>
#include <crpie/symbols.h>
#include <crpie/symtab.h>
#include <crpie/syscall.h>
#include <crpie/vma.h>

#define CRPIE_ENVIRON_MAX (1u << 20) /* entries; a program with more has damaged its own */

/* struct iovec of process_vm_readv(2); the kernel's header declares it in the way of libc's. */
struct crpie_iovec {
	uint64_t base, len;
};

/*
 * Copies between the process's own memory and a hook's buffer. The kernel says -EFAULT where the hook would crash; what
 * an earlier call has mapped is in no list of mappings.
 */
static inline int crpie_environ_copy(const struct crpie_ctx *ctx, uint64_t addr, void *buf, uint64_t len, int write)
{
	struct crpie_iovec local = { (uint64_t)(uintptr_t)buf, len }, remote = { addr, len };
	long ret;

	if (crpie_vma_covers(ctx, addr, len, write ? CRPIE_PROT_WRITE : CRPIE_PROT_READ)) {
		crpie_memcpy(write ? (void *)(uintptr_t)addr : buf, write ? buf : (void *)(uintptr_t)addr, len);
		return 0;
	}
	ret = write ? sys_process_vm_writev(ctx->pid, (struct iovec *)&local, 1, (struct iovec *)&remote, 1) :
		      sys_process_vm_readv(ctx->pid, (struct iovec *)&local, 1, (struct iovec *)&remote, 1);
	return ret == (long)len ? 0 : ret < 0 ? (int)ret : -EFAULT;
}

/* Where libc's environ is; -ESRCH if there is none, or as crpie_symtab_find says. */
static inline int crpie_environ(const struct crpie_ctx *ctx, uint64_t *addr)
{
	struct crpie_symbol sym;
	int err;

	if (crpie_symbol_find(ctx, NULL, "environ", &sym) || crpie_symbol_find(ctx, NULL, "__environ", &sym)) {
		*addr = sym.addr;
		return 0;
	}
	err = crpie_symtab_find(ctx, "__environ", &sym);
	if (err == 0)
		*addr = sym.addr;
	return err;
}

/* 1 if the string at addr begins with the len bytes of name and '='. */
static inline int crpie_environ_is(const struct crpie_ctx *ctx, uint64_t addr, const char *name, size_t len)
{
	char byte = 0;
	size_t i;

	for (i = 0; i <= len; i++)
		if (crpie_environ_copy(ctx, addr + i, &byte, 1, 0) != 0 || byte != (i < len ? name[i] : '='))
			return 0;
	return 1;
}

#define CRPIE_ENVIRON_BLOCK                                                                                            \
	64 /* entries that are read at once; what begins at a multiple of 512 bytes crosses no page */

/* Reads the entries from addr on, as many as lie before the next multiple of a block's size; returns how many. */
static inline int crpie_environ_block(const struct crpie_ctx *ctx, uint64_t addr, uint64_t *entries)
{
	uint64_t size = CRPIE_ENVIRON_BLOCK * 8, len = size - addr % size;
	int err = addr % 8 != 0 ? -EFAULT : crpie_environ_copy(ctx, addr, entries, len, 0);

	return err != 0 ? err : (int)(len / 8);
}

/* Finds name's entry in the array of pointers; *count is its index, or that of the NULL at the end, and *found says so. */
static inline int crpie_environ_find(const struct crpie_ctx *ctx, uint64_t array, const char *name, size_t len,
				     uint64_t *count, int *found)
{
	uint64_t entries[CRPIE_ENVIRON_BLOCK];
	int nr, i;

	*found = 0;
	for (*count = 0; array != 0 && *count < CRPIE_ENVIRON_MAX;) {
		nr = crpie_environ_block(ctx, array + *count * 8, entries);
		if (nr < 0)
			return nr;
		for (i = 0; i < nr; i++, ++*count) {
			*found = entries[i] != 0 && crpie_environ_is(ctx, entries[i], name, len);
			if (*found || entries[i] == 0)
				return 0;
		}
	}
	return array == 0 ? 0 : -E2BIG;
}

/* A new array of count entries, string behind them, and NULL. */
static inline int crpie_environ_grow(const struct crpie_ctx *ctx, uint64_t environ_at, uint64_t array, uint64_t count,
				     uint64_t string)
{
	uint64_t *grown, at;
	void *memory;
	int err = crpie_keep((count + 2) * 8, &memory);

	if (err != 0)
		return err;
	grown = (uint64_t *)memory;
	err = count != 0 ? crpie_environ_copy(ctx, array, grown, count * 8, 0) : 0;
	grown[count] = string;
	at = (uint64_t)(uintptr_t)grown;
	if (err == 0)
		err = crpie_environ_copy(ctx, environ_at, &at, 8, 1);
	if (err != 0)
		sys_munmap(memory, (count + 2) * 8);
	return err;
}

/* NAME=VALUE in memory that stays; *out is where. */
static inline int crpie_environ_text(const char *name, const char *value, uint64_t *out)
{
	size_t len = crpie_strlen(name), value_len = crpie_strlen(value);
	void *memory;
	char *text;
	int err = crpie_keep(len + value_len + 2, &memory);

	if (err != 0)
		return err;
	text = (char *)memory;
	crpie_memcpy(text, name, len);
	text[len] = '=';
	crpie_memcpy(text + len + 1, value, value_len);
	*out = (uint64_t)(uintptr_t)text;
	return 0;
}

/*
 * Sets name to value. 0, or a negative errno, and nothing has changed then:
 *	-EINVAL		name is empty or has '='
 *	-ESRCH		the program has no environ: no libc, or static and stripped
 *	-EFAULT		its environment is not where it should be
 *	-E2BIG		it has no end within CRPIE_ENVIRON_MAX entries
 * and what crpie_symtab_find (-EEXIST, -ESTALE, -ENOEXEC, errors of open(2)), mmap(2) (-ENOMEM) and process_vm_readv(2)
 * and process_vm_writev(2) return (-EPERM and -ENOSYS where a filter or the kernel does not have them).
 */
static inline int crpie_setenv(const struct crpie_ctx *ctx, const char *name, const char *value)
{
	uint64_t environ_at = 0, array = 0, count = 0, string = 0;
	size_t len = crpie_strlen(name);
	int found = 0, err;

	if (len == 0 || crpie_strchr(name, '=') != NULL)
		return -EINVAL;
	err = crpie_environ(ctx, &environ_at);
	if (err == 0)
		err = crpie_environ_copy(ctx, environ_at, &array, 8, 0);
	if (err == 0)
		err = crpie_environ_find(ctx, array, name, len, &count, &found);
	if (err == 0)
		err = crpie_environ_text(name, value, &string);
	if (err != 0)
		return err;
	err = found ? crpie_environ_copy(ctx, array + count * 8, &string, 8, 1) :
		      crpie_environ_grow(ctx, environ_at, array, count, string);
	if (err != 0)
		sys_munmap((void *)(uintptr_t)string, len + crpie_strlen(value) + 2);
	return err;
}

#endif
