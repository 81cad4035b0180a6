// SPDX-License-Identifier: Apache-2.0
/* seterrno: has libc's close fail, which sets errno of the thread. With keep=1 it is what it was afterwards. */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/symbols.h>

static int hook(struct crpie_ctx *ctx)
{
	uint64_t close = crpie_symbol(ctx, "close");
	int *err = crpie_errno(ctx), kept;

	if (close == 0 || err == NULL)
		return -ENOENT;
	kept = *err;
	if (((int (*)(int))(uintptr_t)close)(-1) != -1 || *err != EBADF)
		return -EPROTO;
	if (crpie_param(ctx, "keep") != NULL)
		*err = kept;
	return 0;
}

static int early(struct crpie_ctx *ctx)
{
	return crpie_errno(ctx) == NULL ? 0 : -EPROTO;
}

CR_PLUGIN_REGISTER_DUMMY("seterrno")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, early)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
