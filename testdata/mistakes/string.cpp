/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/log.h>
#include <crpie/plugin.h>
#include <string>

static int hook(crpie_ctx *ctx)
{
	std::string s(ctx->comm);

	s += "!!!!!!!!!!!!!!!!!!!!!!";
	pr_info(ctx, "%s", s.c_str());
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
