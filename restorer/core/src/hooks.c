// SPDX-License-Identifier: Apache-2.0
/* Calling plugins: the hook table is sorted by stage, priority and command line, so one walk serves a stage. */
#include "core.h"
#include "syscall.h"

static void begin_call(struct core *core, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	core->bell->call[core->thread->status] = (struct crpie_call){ hook, plugin, fn };
	core->status->plugin = plugin;
	core->status->fn = fn;
	__atomic_store_n(&core->status->hook, hook, __ATOMIC_RELEASE);
	__atomic_fetch_add(&core->status->hook_seq, 1, __ATOMIC_RELEASE);
}

static void end_call(struct core *core)
{
	__atomic_store_n(&core->status->hook, 0, __ATOMIC_RELEASE);
	__atomic_fetch_add(&core->status->hook_seq, 1, __ATOMIC_RELEASE);
}

static const struct crpie_table *table(const struct core *core)
{
	return (const struct crpie_table *)core->plan->table;
}

static const struct crpie_table_plugin *plugin_at(const struct core *core, uint32_t index)
{
	return (const struct crpie_table_plugin *)table(core)->plugins + index;
}

/* Plugins whose init said -ENOTSUP. A child inherits it, and asks every init anew. */
static uint8_t sits_out[CRPIE_MAX_PLUGINS];

/* --pie-plugin hook.o,select=... */
static int runs_here(const struct core *core, uint32_t plugin)
{
	return ((const uint8_t *)core->task->runs)[plugin] && !sits_out[plugin];
}

static void describe(struct core *core, struct crpie_ctx *ctx, uint32_t hook, uint32_t index)
{
	const struct crpie_table_plugin *plugin = plugin_at(core, index);

	*ctx = (struct crpie_ctx){
		.size = sizeof(*ctx),
		.abi = CRPIE_ABI_VERSION,
		.hook = hook,
		.pid = core->task->pid,
		.tid = core->thread->tid,
		.nr_threads = core->task->nr_threads,
		.dump_time_ns = core->plan->dump_time_ns,
		.restore_time_ns = core->plan->restore_time_ns,
		.comm = (const char *)core->task->comm,
		.plugin = (const char *)plugin->name,
		.params = (const struct crpie_param *)plugin->params,
		.nr_params = plugin->nr_params,
		.vmas = (const struct crpie_vma *)core->task->vmas,
		.nr_vmas = core->task->nr_vmas,
		.mm = (const struct crpie_mm *)core->task->mm,
		.log = core_log,
		.reserved = { (uint64_t)core },
		.vma_madv = (const uint64_t *)((const struct crpie_vma *)core->task->vmas + core->task->nr_vmas),
	};
}

/* One call into a plugin. Unless it returns 0 or -ENOTSUP the status keeps naming it. */
static int call(struct core *core, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	struct crpie_ctx ctx;
	int ret = 0;

	describe(core, &ctx, hook, plugin);
	begin_call(core, hook, plugin, fn);
	if (hook == CRPIE_HOOK_INIT)
		ret = ((crpie_init_fn)fn)(CR_PLUGIN_STAGE__RESTORE, &ctx);
	else if (hook == CRPIE_HOOK_EXIT)
		((crpie_exit_fn)fn)(CR_PLUGIN_STAGE__RESTORE, 0, &ctx);
	else
		ret = ((crpie_hook_fn)fn)(&ctx);
	if (ret == 0 || ret == -EOPNOTSUPP)
		end_call(core);
	return ret;
}

/* init of every plugin before the task's first hook */
static int run_inits(struct core *core)
{
	uint32_t i;

	for (i = 0; i < table(core)->nr_plugins; i++) {
		uint64_t fn = plugin_at(core, i)->init;
		int ret;

		sits_out[i] = 0;
		if (!fn || !runs_here(core, i))
			continue;
		ret = call(core, CRPIE_HOOK_INIT, i, fn);
		sits_out[i] = ret == -EOPNOTSUPP;
		if (ret && !sits_out[i])
			return ret;
	}
	return 0;
}

static void run_exits(struct core *core)
{
	uint32_t i;

	for (i = 0; i < table(core)->nr_plugins; i++)
		if (plugin_at(core, i)->exit && runs_here(core, i))
			call(core, CRPIE_HOOK_EXIT, i, plugin_at(core, i)->exit);
}

/* 0, or what a hook or init returned that undoes the restore. */
int64_t core_run_hooks(struct core *core, uint32_t hook)
{
	const struct crpie_table_hook *entry = (const struct crpie_table_hook *)table(core)->hooks;
	const struct crpie_table_hook *end = entry + table(core)->nr_hooks;
	int ret = 0;

	if (hook == CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED)
		ret = run_inits(core);
	for (; !ret && entry < end; entry++) {
		if (entry->hook != hook || !runs_here(core, entry->plugin))
			continue;
		ret = call(core, hook, entry->plugin, entry->fn);
		if (ret == -EOPNOTSUPP)
			ret = 0;
	}
	if (!ret && hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN)
		run_exits(core);
	return ret;
}
