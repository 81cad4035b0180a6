/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>

static int hook(struct crpie_ctx *ctx)
{
	return ctx->pid > 0;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
