// SPDX-License-Identifier: Apache-2.0
/* Counts the anonymous writable mappings that had MADV_DONTDUMP. */
#include <crpie/log.h>
#include <crpie/plugin.h>

#define MADV_DONTDUMP 16

static int count(struct crpie_ctx *ctx)
{
	uint64_t i, n = 0;

	if (!CRPIE_CTX_HAS(ctx, vma_madv))
		return -EINVAL;
	for (i = 0; i < ctx->nr_vmas; i++)
		if (ctx->vmas[i].prot == 3 && ctx->vmas[i].name[0] == 0)
			n += ctx->vma_madv[i] >> MADV_DONTDUMP & 1;
	pr_warn(ctx, "%d mappings with MADV_DONTDUMP", (int)n);
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("madv")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, count)
