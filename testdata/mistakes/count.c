/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/param.h>
#include <crpie/plugin.h>

static int hook(struct crpie_ctx *ctx)
{
	uint64_t n = 5;
	int err = crpie_param_u64(ctx, "count", 1, 10, &n);

	return err == CRPIE_PARAM_NOTFOUND ? 0 : err;
}

CRPIE_PARAM_INT("count", CRPIE_REQUIRED, 1, 10, "how many")

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
