/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>
#include <crpie/symbols.h>

static int hook(struct crpie_ctx *ctx)
{
	void *(*malloc)(size_t) = (void *(*)(size_t))(uintptr_t)crpie_symbol(ctx, "malloc");

	return malloc(10) == NULL ? -ENOMEM : 0;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, hook)
