/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share: the parameter pair symbol=NAME / addr=0x… that points into the restored program. */
#ifndef EXAMPLE_TARGET_H
#define EXAMPLE_TARGET_H

#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/symbols.h>

/* Stores the address, or logs why not and returns a negative errno; CRPIE_PARAM_NOTFOUND if neither was given. */
static int target_address(const struct crpie_ctx *ctx, uint64_t *addr)
{
	const char *name = crpie_param(ctx, "symbol");
	int err = crpie_param_u64(ctx, "addr", 1, UINT64_MAX, addr);

	if (err == 0 && name != NULL) {
		pr_err(ctx, "symbol= and addr= exclude each other");
		return -EINVAL;
	}
	if (err != CRPIE_PARAM_NOTFOUND) {
		if (err != 0)
			pr_err(ctx, "addr=%s is not an address", crpie_param(ctx, "addr"));
		return err;
	}
	if (name == NULL)
		return CRPIE_PARAM_NOTFOUND;
	*addr = crpie_symbol(ctx, name);
	if (*addr != 0)
		return 0;
	pr_err(ctx, "%s has no dynamic symbol %s: link it with -rdynamic, or give addr= (see nm)", ctx->comm, name);
	return -ESRCH;
}

#endif
