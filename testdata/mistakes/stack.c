/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>

static int deeper(volatile int *n)
{
	volatile char frame[8192];

	frame[0] = (char)*n;
	return *n > 1000000 ? 0 : deeper(n) + frame[0];
}

static int hook(struct crpie_ctx *ctx)
{
	volatile int n = ctx->pid & 1;

	return deeper(&n);
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
