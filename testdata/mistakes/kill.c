/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static int hook(struct crpie_ctx *ctx)
{
	return (int)sys_kill(ctx->pid, 15);
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
