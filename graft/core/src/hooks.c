// SPDX-License-Identifier: Apache-2.0
/* Calling plugins: the hook table is sorted by stage, priority and command line, so one walk serves a stage. */
#include "graft.h"
#include "syscall.h"

uint32_t graft_failed;

static const struct crpie_table *table(const struct graft_worker *w)
{
	return (const struct crpie_table *)w->task->table;
}

static const struct crpie_table_plugin *plugin_at(const struct graft_worker *w, uint32_t index)
{
	return (const struct crpie_table_plugin *)table(w)->plugins + index;
}

static int may_call(void)
{
	return !__atomic_load_n(&graft_failed, __ATOMIC_ACQUIRE);
}

static void fail(struct graft_worker *w, int64_t result)
{
	struct graft_line line;

	if (!w->aborted) { /* what aborted the call has said why */
		graft_begin_line(&line, w);
		graft_put(&line, "returned ");
		graft_put_int(&line, result);
		graft_end_line(&line, w->task);
	}
	while (w->task->on_error == GRAFT_ON_ERROR_KILL)
		sys1(__NR_exit_group, GRAFT_EXIT_STATUS);
	__atomic_store_n(&graft_failed, 1, __ATOMIC_RELEASE);
}

/* Plugins whose init said -ENOTSUP; written before any other thread looks. */
static uint8_t sits_out[CRPIE_MAX_PLUGINS];

static void describe(struct graft_worker *w, struct crpie_ctx *ctx, uint32_t hook, uint32_t index)
{
	const struct crpie_table_plugin *plugin = plugin_at(w, index);

	*ctx = (struct crpie_ctx){
		.size = sizeof(*ctx),
		.abi = CRPIE_ABI_VERSION,
		.hook = hook,
		.pid = w->task->pid,
		.tid = w->thread->tid,
		.nr_threads = w->task->nr_threads,
		.dump_time_ns = w->task->dump_time_ns,
		.restore_time_ns = graft_clock(0 /* CLOCK_REALTIME */),
		.comm = (const char *)w->task->comm,
		.plugin = (const char *)plugin->name,
		.params = (const struct crpie_param *)plugin->params,
		.nr_params = plugin->nr_params,
		.vmas = (const struct crpie_vma *)w->task->vmas,
		.nr_vmas = w->task->nr_vmas,
		.mm = (const struct crpie_mm *)w->task->mm,
		.log = graft_log,
		.reserved = { (uint64_t)w },
		.vma_madv = (const uint64_t *)((const struct crpie_vma *)w->task->vmas + w->task->nr_vmas),
	};
}

/* The arguments of a call: an init takes (stage, ctx), an exit (stage, ret, ctx), a hook (ctx). */
static int enter(struct graft_worker *w, uint32_t hook, uint64_t fn, struct crpie_ctx *ctx)
{
	if (hook == CRPIE_HOOK_INIT)
		return graft_call(fn, CR_PLUGIN_STAGE__RESTORE, (uint64_t)ctx, 0, &w->resume);
	if (hook == CRPIE_HOOK_EXIT)
		return graft_call(fn, CR_PLUGIN_STAGE__RESTORE, 0, (uint64_t)ctx, &w->resume), 0;
	return graft_call(fn, (uint64_t)ctx, 0, 0, &w->resume);
}

/* One call into a plugin, under watch. */
static int call(struct graft_worker *w, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	struct crpie_ctx ctx;
	int result;

	describe(w, &ctx, hook, plugin);
	w->plugin = plugin;
	w->fn = fn;
	w->aborted = 0;
	w->began = graft_clock(1 /* CLOCK_MONOTONIC */);
	__atomic_fetch_add(&w->seq, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&w->hook, hook, __ATOMIC_RELEASE);
	result = enter(w, hook, fn, &ctx);
	if (w->aborted || (result && result != -EOPNOTSUPP))
		fail(w, result);
	__atomic_store_n(&w->hook, 0, __ATOMIC_RELEASE);
	return result;
}

void graft_run_inits(struct graft_worker *w)
{
	uint32_t i;

	for (i = 0; i < table(w)->nr_plugins && may_call(); i++)
		if (plugin_at(w, i)->init)
			sits_out[i] = call(w, CRPIE_HOOK_INIT, i, plugin_at(w, i)->init) == -EOPNOTSUPP;
}

static void run_exits(struct graft_worker *w)
{
	uint32_t i;

	for (i = 0; i < table(w)->nr_plugins && may_call(); i++)
		if (plugin_at(w, i)->exit && !sits_out[i])
			call(w, CRPIE_HOOK_EXIT, i, plugin_at(w, i)->exit);
}

void graft_run_hooks(struct graft_worker *w, uint32_t hook)
{
	const struct crpie_table_hook *entry = (const struct crpie_table_hook *)table(w)->hooks;
	const struct crpie_table_hook *end = entry + table(w)->nr_hooks;

	for (; entry < end && may_call(); entry++)
		if (entry->hook == hook && !sits_out[entry->plugin])
			call(w, hook, entry->plugin, entry->fn);
	if (hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN)
		run_exits(w);
}
