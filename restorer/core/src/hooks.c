// SPDX-License-Identifier: Apache-2.0
/* Walking the hook table: it is sorted by stage, priority and command line, so one walk serves a stage. */
#include "hooks.h"
#include "syscall.h"

/*
 * Plugins whose init said -ENOTSUP. Every thread reads it after one has run the inits; a child of a restored task
 * inherits it, and asks every init anew.
 */
static uint8_t sits_out[CRPIE_MAX_PLUGINS];

static const struct crpie_table_plugin *plugin_at(const struct caller *caller, uint32_t index)
{
	return (const struct crpie_table_plugin *)caller_table(caller)->plugins + index;
}

static void describe(struct caller *caller, struct crpie_ctx *ctx, uint32_t hook, uint32_t index)
{
	const struct crpie_table_plugin *plugin = plugin_at(caller, index);

	*ctx = (struct crpie_ctx){
		.size = sizeof(*ctx),
		.abi = CRPIE_ABI_VERSION,
		.hook = hook,
		.plugin = (const char *)plugin->name,
		.params = (const struct crpie_param *)plugin->params,
		.nr_params = plugin->nr_params,
		.reserved = { (uint64_t)caller },
	};
	caller_describe(caller, ctx);
	if (hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD)
		ctx->regs = caller_regs(caller);
	if (hook != CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN)
		ctx->timers = 0, ctx->nr_timers = 0;
	ctx->vma_madv = (const uint64_t *)(ctx->vmas + ctx->nr_vmas);
}

/* An init takes (stage, ctx) and an exit (stage, ret, ctx), which returns nothing; a hook takes (ctx). */
static int enter(struct caller *caller, uint32_t hook, uint64_t fn, const struct crpie_ctx *ctx)
{
	if (hook == CRPIE_HOOK_INIT)
		return caller_enter(caller, fn, CR_PLUGIN_STAGE__RESTORE, (uint64_t)ctx, 0);
	if (hook == CRPIE_HOOK_EXIT)
		return caller_enter(caller, fn, CR_PLUGIN_STAGE__RESTORE, 0, (uint64_t)ctx), 0;
	return caller_enter(caller, fn, (uint64_t)ctx, 0, 0);
}

/* A hook that does not return 0 changes no registers. With -ENOTSUP it may have changed timers, as with 0. */
static int keep(struct caller *caller, const struct crpie_ctx *ctx, const struct crpie_regs *before, int result)
{
	int ret = result == -EOPNOTSUPP ? 0 : result;

	if (result == 0)
		ret = check_regs(ctx, before);
	if (ret == 0 && ctx->timers)
		ret = check_timers(ctx, caller_timers(caller));
	if ((result || ret) && ctx->regs)
		*ctx->regs = *before;
	if (ret == 0)
		ret = caller_keep(caller, ctx);
	return ret ? ret : result;
}

static int call(struct caller *caller, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	struct crpie_regs before = { 0 };
	struct crpie_ctx ctx, given;
	int result;

	describe(caller, &ctx, hook, plugin);
	if (ctx.regs)
		before = *ctx.regs;
	given = ctx; /* the hook may write to the one that it gets */
	caller_begin(caller, hook, plugin, fn);
	result = enter(caller, hook, fn, &ctx);
	return caller_end(caller, keep(caller, &given, &before, result));
}

static int runs_here(const struct caller *caller, uint32_t plugin)
{
	return caller_selects(caller, plugin) && !sits_out[plugin];
}

/* init of every plugin */
int hooks_run_inits(struct caller *caller)
{
	uint32_t i;

	for (i = 0; i < caller_table(caller)->nr_plugins && !caller_stopped(); i++) {
		uint64_t fn = plugin_at(caller, i)->init;
		int ret;

		sits_out[i] = 0;
		if (!fn || !runs_here(caller, i))
			continue;
		ret = call(caller, CRPIE_HOOK_INIT, i, fn);
		sits_out[i] = ret == -EOPNOTSUPP;
		if (ret && !sits_out[i])
			return ret;
	}
	return 0;
}

static int run_exits(struct caller *caller)
{
	uint32_t i;

	for (i = 0; i < caller_table(caller)->nr_plugins && !caller_stopped(); i++) {
		uint64_t fn = plugin_at(caller, i)->exit;
		int ret = 0;

		if (fn && runs_here(caller, i))
			ret = call(caller, CRPIE_HOOK_EXIT, i, fn);
		if (ret)
			return ret;
	}
	return 0;
}

/* All hooks of a stage; after the last stage the exits. */
int hooks_run(struct caller *caller, uint32_t hook)
{
	const struct crpie_table *table = caller_table(caller);
	const struct crpie_table_hook *entry = (const struct crpie_table_hook *)table->hooks;
	const struct crpie_table_hook *end = entry + table->nr_hooks;

	for (; entry < end && !caller_stopped(); entry++) {
		int ret = 0;

		if (entry->hook == hook && runs_here(caller, entry->plugin))
			ret = call(caller, hook, entry->plugin, entry->fn);
		if (ret && ret != -EOPNOTSUPP)
			return ret;
	}
	return hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN ? run_exits(caller) : 0;
}
