/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace: a hook at every stage that logs what it was handed. To learn the stages, or to see whether a plugin would
 * run at all; it changes nothing. Any parameters are accepted and logged.
 *
 *	crpie restore -D images -v3 --pie-plugin trace.o,who=me
 */
#include <crpie/log.h>
#include <crpie/plugin.h>

static const char *stage_name(uint32_t hook)
{
	switch (hook) {
		/* clang-format off */
	case CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED: return "TASK_CREATED";
	case CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY: return "POST_MEMORY";
	case CR_PLUGIN_HOOK__PIE_RST_POST_FILES: return "POST_FILES";
	case CR_PLUGIN_HOOK__PIE_RST_POST_THREADS: return "POST_THREADS";
	case CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS: return "PRE_CREDS";
	case CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD: return "PRE_SIGRETURN_THREAD";
	case CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN: return "PRE_SIGRETURN";
	case CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP: return "PRE_DUMP";
	case CR_PLUGIN_HOOK__PIE_DMP_RESUMED: return "RESUMED";
	default: return "?";
		/* clang-format on */
	}
}

static int trace(struct crpie_ctx *ctx)
{
	char params[256] = "";
	uint64_t i;
	size_t n = 0;

	for (i = 0; i < ctx->nr_params && n < sizeof(params); i++)
		n += crpie_snprintf(params + n, sizeof(params) - n, " %s=%s", ctx->params[i].key, ctx->params[i].value);
	pr_info(ctx, "stage=%s pid=%d tid=%d threads=%u comm=%s vmas=%lu params:%s", stage_name(ctx->hook), ctx->pid,
		ctx->tid, ctx->nr_threads, ctx->comm, ctx->nr_vmas, params);
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("trace")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_THREADS, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, trace)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, trace)
