// SPDX-License-Identifier: Apache-2.0
/* watched: hooks at every stage for a debugger to look at, with variables in .data, in .bss and on the stack. */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

static int calls = 7;
static int before;

static __attribute__((noinline)) int watched(struct crpie_ctx *ctx, int by)
{
	int zeros = before;

	calls += by;
	before = calls;
	pr_info(ctx, "%d calls", calls);
	zeros += calls;
	CRPIE_OPAQUE(zeros);
	return zeros;
}

/* With ignore=1 SIGTRAP is ignored, before the last stage: criu's dump itself resets that. */
static void ignore_trap(struct crpie_ctx *ctx)
{
	uint64_t action[4] = { 1 /* SIG_IGN */ };

	if (crpie_param(ctx, "ignore") != NULL && ctx->hook != CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN)
		CRPIE_SYS4(__NR_rt_sigaction, 5 /* SIGTRAP */, action, NULL, 8);
}

static int hook(struct crpie_ctx *ctx)
{
	int zeros = watched(ctx, 2);

	CRPIE_OPAQUE(zeros);
	ignore_trap(ctx);
	return zeros == 0;
}

CR_PLUGIN_REGISTER_DUMMY("watched")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_THREADS, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, hook)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
