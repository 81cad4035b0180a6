// SPDX-License-Identifier: Apache-2.0
/* twice: two hooks of one stage. The first logs an error and succeeds, the second fails and logs nothing. */
#include <crpie/log.h>
#include <crpie/plugin.h>

static int complains(struct crpie_ctx *ctx)
{
	pr_err(ctx, "of no importance");
	return 0;
}

static int fails(struct crpie_ctx *ctx)
{
	(void)ctx;
	return -5 /* EIO */;
}

CR_PLUGIN_REGISTER_DUMMY("twice")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, complains)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, fails)
