/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stretch: makes the timers of a program slower. What remains of each, and its interval, becomes factor times as long.
 *
 *	crpie restore -D images --pie-plugin stretch.o,factor=2
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>

static int stretch(struct crpie_ctx *ctx)
{
	uint64_t factor = 1;
	int err = crpie_param_u64(ctx, "factor", 1, 1000, &factor);

	if (err != 0)
		return err;
	if (!CRPIE_CTX_HAS(ctx, nr_timers))
		return -ENOTSUP;
	for (uint64_t i = 0; i < ctx->nr_timers; i++) {
		struct crpie_timer *timer = &ctx->timers[i];

		timer->remaining_ns *= (int64_t)factor;
		timer->interval_ns *= (int64_t)factor;
		pr_info(ctx, "timer %d of kind %u: %ld ns remain, interval %ld ns", timer->id, timer->kind,
			(long)timer->remaining_ns, (long)timer->interval_ns);
	}
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("stretch")
CRPIE_PARAM_INT("factor", CRPIE_REQUIRED, 1, 1000, "how many times as long")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, stretch)
