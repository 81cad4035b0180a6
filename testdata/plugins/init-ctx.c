/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init-ctx: init and exit with a context. init-ctx.o,init=error,who=me
 *
 *	who=TEXT       is logged by init, hook and exit
 *	init=positive  init returns 1; error: -EPERM; low: -5000; notsup: -ENOTSUP; null: writes to address 0
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>

static int plugin_init(int stage, struct crpie_ctx *ctx)
{
	const char *how = crpie_param(ctx, "init");
	volatile int *nowhere = NULL;

	pr_info(ctx, "stage %d hook 0x%x who=%s", stage, ctx->hook, crpie_param(ctx, "who"));
	if (how == NULL)
		return 0;
	__asm__("" : "+r"(nowhere)); /* so that no compiler sees the constant and traps instead */
	if (crpie_strcmp(how, "null") == 0)
		*nowhere = 1;
	return crpie_strcmp(how, "positive") == 0 ? 1 :
	       crpie_strcmp(how, "low") == 0      ? -5000 :
	       crpie_strcmp(how, "notsup") == 0   ? -ENOTSUP :
						    -EPERM;
}

static void plugin_exit(int stage, int ret, struct crpie_ctx *ctx)
{
	pr_info(ctx, "stage %d hook 0x%x ret %d who=%s", stage, ctx->hook, ret, crpie_param(ctx, "who"));
}

static int hook(struct crpie_ctx *ctx)
{
	pr_info(ctx, "hook 0x%x who=%s", ctx->hook, crpie_param(ctx, "who"));
	return 0;
}

CRPIE_PLUGIN_REGISTER_CTX("init-ctx", plugin_init, plugin_exit)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
