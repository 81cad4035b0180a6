/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that stays in the program when the plugin is gone. The plugin's own code, variables and strings are unmapped
 * before the program goes on: a pointer into them that the program keeps, also a signal handler, crashes it later. What
 * the program is to find afterwards is put here.
 *
 * It is a private anonymous mapping of its own, readable and writable, in whole pages, and is the program's from then
 * on: the program may unmap it, mmap(2). It is made where the process is final, from PIE_RST_POST_MEMORY on. It is not
 * in ctx->vmas, which are those of the dump.
 */
#ifndef CRPIE_KEEP_H
#define CRPIE_KEEP_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/string.h>
#include <crpie/syscall.h>

/* Maps size bytes of zeros, at least one; *out is where. 0, or -EINVAL, -ENOMEM and what else mmap(2) returns. */
static inline int crpie_keep(size_t size, void **out)
{
	void *p = sys_mmap(NULL, size, 3 /* PROT_READ | PROT_WRITE */, 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1, 0);

	if (crpie_is_err((long)p))
		return (int)(long)p;
	*out = p;
	return 0;
}

/* The same with a copy of size bytes. */
static inline int crpie_keep_copy(const void *from, size_t size, void **out)
{
	int err = crpie_keep(size, out);

	if (err == 0)
		crpie_memcpy(*out, from, size);
	return err;
}

#endif
