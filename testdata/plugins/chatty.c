/* SPDX-License-Identifier: Apache-2.0 */
/* chatty: logs more lines than a grafted task can hold ready, and one with a newline. */
#include <crpie/log.h>
#include <crpie/plugin.h>

static int chat(struct crpie_ctx *ctx)
{
	for (int i = 0; i < 50; i++)
		pr_info(ctx, "line %d", i);
	pr_err(ctx, "the\nlast");
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("chatty")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, chat)
