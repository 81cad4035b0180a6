/* SPDX-License-Identifier: Apache-2.0 */
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static void handler(int sig)
{
	(void)sig;
}

/* The kernel's struct sigaction, rt_sigaction(2). */
static int hook(struct crpie_ctx *ctx)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} action = { handler, 0, NULL, 0 };

	(void)ctx;
	return (int)CRPIE_SYS4(__NR_rt_sigaction, 10, &action, 0, 8);
}

CR_PLUGIN_REGISTER_DUMMY("mistake")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
