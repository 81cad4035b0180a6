/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/log.h>
#include <crpie/plugin.h>

static int hook(struct crpie_ctx *ctx)
{
	pr_info(ctx, "half is %f", 0.5);
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
