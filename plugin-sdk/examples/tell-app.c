/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tell-app: tells the application that it was restored, by writing a variable in its memory.
 *
 *	crpie restore -D images --pie-plugin tell-app.o,symbol=was_restored
 *	crpie restore -D images --pie-plugin tell-app.o,symbol=generation,size=8,mode=add
 *
 *	symbol=NAME   a variable of the program, unless it is stripped, or an exported one of its libraries
 *	addr=0x…      or its address, as nm prints it for a program linked with -no-pie
 *	size=1|2|4|8  of the variable, in bytes; default: the symbol's own size, else 4
 *	value=N       what is written, default 1
 *	mode=set|add  add makes a counter of restores, "generation", which a fork of a fork sees grow
 *
 * It runs last of all: what the application finds is true.
 */
#include "target.h"

static int variable_size(const struct crpie_ctx *ctx, const struct crpie_symbol *sym, uint64_t *size)
{
	if (crpie_param_u64(ctx, "size", 1, 8, size) == CRPIE_PARAM_NOTFOUND)
		*size = sym->size != 0 ? sym->size : 4;
	if (*size <= 8 && (*size & (*size - 1)) == 0)
		return 0;
	pr_err(ctx, "the symbol has %lu bytes: give size=1, 2, 4 or 8", *size);
	return -EINVAL;
}

static int adds(const struct crpie_ctx *ctx)
{
	return crpie_strcmp(crpie_param(ctx, "mode"), "add") == 0;
}

/* Other threads are parked, so that nobody sees half a value. Both machines are little-endian. */
static void write_variable(const struct crpie_ctx *ctx, uint64_t addr, uint64_t size, uint64_t value, int add)
{
	uint64_t old = 0;

	crpie_memcpy(&old, (const void *)(uintptr_t)addr, size);
	if (add)
		value += old;
	crpie_memcpy((void *)(uintptr_t)addr, &value, size);
	pr_info(ctx, "0x%lx (%lu bytes): %lu -> %lu", addr, size, old, value);
}

static int tell(struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	uint64_t size = 0, value = 0;
	int err = target(ctx, &sym);

	if (err == 0)
		err = variable_size(ctx, &sym, &size);
	if (err != 0)
		return err;
	crpie_param_u64(ctx, "value", 0, UINT64_MAX, &value);
	if (!crpie_vma_covers(ctx, sym.addr, size, CRPIE_PROT_READ | CRPIE_PROT_WRITE)) {
		pr_err(ctx, "0x%lx is not writable memory of %s", sym.addr, ctx->comm);
		return -EFAULT;
	}
	write_variable(ctx, sym.addr, size, value, adds(ctx));
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("tell-app")
CRPIE_PARAM_ONE_OF("symbol addr", CRPIE_REQUIRED)
CRPIE_PARAM_ENUM("size", CRPIE_OPTIONAL, "1 2 4 8", "of the variable, bytes; default: the symbol's own, else 4")
CRPIE_PARAM_INT("value", CRPIE_DEFAULT("1"), 0, UINT64_MAX, "what is written or added")
CRPIE_PARAM_ENUM("mode", CRPIE_DEFAULT("set"), "set add", "add makes a counter of restores")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, tell)
