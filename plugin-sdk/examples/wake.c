/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wake: ends sleeps. A thread that was dumped in nanosleep(2) or clock_nanosleep(2) goes on as if its time were over,
 * however much of it was left.
 *
 *	crpie restore -D images --pie-plugin wake.o
 */
#include <crpie/log.h>
#include <crpie/regs.h>
#include <crpie/syscall.h>

static int wake(struct crpie_ctx *ctx)
{
	long nr = crpie_in_syscall(ctx);

	/* A wait that a stop had interrupted before: of poll(2) and futex(2) as well, which may return 0, too. */
	if (nr != __NR_nanosleep && nr != __NR_clock_nanosleep && nr != __NR_restart_syscall)
		return -ENOTSUP;
	pr_info(ctx, "thread %d wakes up", ctx->tid);
	return crpie_return_from_syscall(ctx, 0);
}

CR_PLUGIN_REGISTER_DUMMY("wake")
CRPIE_NO_PARAMS
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, wake)
