/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of a thread, in hooks of PIE_RST_PRE_SIGRETURN_THREAD; struct crpie_regs is in <crpie/abi.h>.
 */
#ifndef CRPIE_REGS_H
#define CRPIE_REGS_H

#include <crpie/plugin.h>
#include <crpie/vma.h>

/* The registers, or NULL: another stage, or a crpie that is older than they are. */
static inline struct crpie_regs *crpie_regs(const struct crpie_ctx *ctx)
{
	return CRPIE_CTX_HAS(ctx, regs) ? ctx->regs : NULL;
}

/* The system call in which the thread was stopped, __NR_*; -1: none. */
static inline long crpie_in_syscall(const struct crpie_ctx *ctx)
{
	const struct crpie_regs *regs = crpie_regs(ctx);

	return regs != NULL ? (long)regs->syscall : -1;
}

/* Whether the thread is going to make that call again: ip is at the instruction syscall, 0f 05, in readable memory. */
static inline int crpie_makes_syscall(const struct crpie_ctx *ctx)
{
	const struct crpie_regs *regs = crpie_regs(ctx);
	const unsigned char *at;

	if (crpie_in_syscall(ctx) < 0 || regs->ax != (uint64_t)regs->syscall ||
	    !crpie_vma_covers(ctx, regs->ip, 2, CRPIE_PROT_READ))
		return 0;
	at = (const unsigned char *)(uintptr_t)regs->ip;
	return at[0] == 0x0f && at[1] == 0x05;
}

/* The call in which the thread was stopped returns result, a negative errno for an error, and is not made again. */
static inline int crpie_return_from_syscall(const struct crpie_ctx *ctx, long result)
{
	struct crpie_regs *regs = crpie_regs(ctx);

	if (crpie_in_syscall(ctx) < 0)
		return -ESRCH;
	if (crpie_makes_syscall(ctx))
		regs->ip += 2;
	regs->ax = (uint64_t)result;
	return 0;
}

#endif
