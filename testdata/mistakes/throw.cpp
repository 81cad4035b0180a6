/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>

static int hook(crpie_ctx *ctx)
{
	if (ctx->pid == 1)
		throw 5;
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
