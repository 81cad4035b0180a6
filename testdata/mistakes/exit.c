/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static int hook(struct crpie_ctx *ctx)
{
	CRPIE_SYS1(__NR_exit_group, 3);
	return ctx->pid;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
