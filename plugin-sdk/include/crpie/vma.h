/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about the restored program's mappings. A hook that follows a pointer of the program asks here first: the
 * program's memory is input, and a wrong address in it should become an error of the hook, not a crash.
 *
 * The list is the dump's; it describes the address space from PIE_RST_POST_MEMORY on.
 */
#ifndef CRPIE_VMA_H
#define CRPIE_VMA_H

#include <stddef.h>
#include <stdint.h>

#include <crpie/abi.h>

/* PROT_* of mmap(2), the same on every machine, for plugins that include no header with them. */
#define CRPIE_PROT_READ 0x1u
#define CRPIE_PROT_WRITE 0x2u
#define CRPIE_PROT_EXEC 0x4u

/* The mapping that holds addr, or NULL. */
static inline const struct crpie_vma *crpie_vma_find(const struct crpie_ctx *ctx, uint64_t addr)
{
	uint64_t low = 0, high = ctx->nr_vmas;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		if (addr >= ctx->vmas[mid].end)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == ctx->nr_vmas || addr < ctx->vmas[low].start)
		return NULL;
	return &ctx->vmas[low];
}

/* True if all of [addr, addr+len) is mapped with at least the protection prot, perhaps in several mappings. */
static inline int crpie_vma_covers(const struct crpie_ctx *ctx, uint64_t addr, uint64_t len, uint32_t prot)
{
	uint64_t end = addr + len;
	const struct crpie_vma *vma;

	if (end < addr)
		return 0;
	while (addr < end) {
		vma = crpie_vma_find(ctx, addr);
		if (vma == NULL || (vma->prot & prot) != prot)
			return 0;
		addr = vma->end;
	}
	return 1;
}

/* Number of bytes from addr on that are readable without a gap, at most max. */
static inline uint64_t crpie_vma_readable(const struct crpie_ctx *ctx, uint64_t addr, uint64_t max)
{
	uint64_t start = addr;
	const struct crpie_vma *vma;

	while (addr - start < max) {
		vma = crpie_vma_find(ctx, addr);
		if (vma == NULL || !(vma->prot & CRPIE_PROT_READ))
			break;
		addr = vma->end;
	}
	return addr - start < max ? addr - start : max;
}

#endif
