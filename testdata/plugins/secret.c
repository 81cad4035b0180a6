/* SPDX-License-Identifier: Apache-2.0 */
/* secret: succeeds if the parameter token has the value that the test read from elsewhere, and never shows it. */
#include <crpie/param.h>
#include <crpie/plugin.h>

static int check(struct crpie_ctx *ctx)
{
	const char *token = crpie_param(ctx, "token");

	return token != NULL && crpie_strcmp(token, "xyzzy,plugh") == 0 ? 0 : -EACCES;
}

CR_PLUGIN_REGISTER_DUMMY("secret")
CRPIE_PARAM_STR("token", CRPIE_REQUIRED, "what is compared")
CRPIE_PARAM_INT("count", CRPIE_OPTIONAL, 1, 8, "refuses texts")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, check)
