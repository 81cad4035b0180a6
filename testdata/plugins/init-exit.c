/* SPDX-License-Identifier: Apache-2.0 */
/* init-exit: counts what crpie calls. The hook checks that init ran before it, once. -DINIT_FAILS makes init refuse. */
#include <crpie/log.h>
#include <crpie/plugin.h>

static int inits;

static int plugin_init(int stage)
{
#ifdef INIT_FAILS
	(void)stage;
	return -EPERM;
#else
	inits++;
	return stage == CR_PLUGIN_STAGE__RESTORE ? 0 : -EINVAL;
#endif
}

static void plugin_exit(int stage, int ret)
{
	inits = stage == CR_PLUGIN_STAGE__RESTORE && ret == 0 ? 0 : -1;
}

static int check(struct crpie_ctx *ctx)
{
	pr_info(ctx, "inits=%d at stage 0x%x", inits, ctx->hook);
	return inits == 1 ? 0 : -EPROTO;
}

CR_PLUGIN_REGISTER("init-exit", plugin_init, plugin_exit)
CR_PLUGIN_REGISTER_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, check, -10)
CR_PLUGIN_REGISTER_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, check, 10)
