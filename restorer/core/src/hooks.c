// SPDX-License-Identifier: Apache-2.0
/* Calling plugins: the hook table is sorted by stage, priority and command line, so one walk serves a stage. */
#include "core.h"
#include "syscall.h"

static void begin_call(struct core *core, uint32_t hook, uint32_t plugin, uint64_t fn)
{
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

/* --pie-plugin hook.o,select=... */
static int runs_here(const struct core *core, uint32_t plugin)
{
	return ((const uint8_t *)core->task->runs)[plugin];
}

static int call_hook(struct core *core, const struct crpie_table_hook *entry)
{
	const struct crpie_table_plugin *plugin = plugin_at(core, entry->plugin);
	struct crpie_ctx ctx = {
		.size = sizeof(ctx),
		.abi = CRPIE_ABI_VERSION,
		.hook = entry->hook,
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
	};

	return ((crpie_hook_fn)entry->fn)(&ctx);
}

/* init of every plugin before the task's first hook */
static int64_t run_inits(struct core *core)
{
	uint32_t i;

	for (i = 0; i < table(core)->nr_plugins; i++) {
		uint64_t fn = plugin_at(core, i)->init;
		int ret;

		if (!fn || !runs_here(core, i))
			continue;
		begin_call(core, CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, i, fn);
		ret = ((int (*)(int))fn)(CR_PLUGIN_STAGE__RESTORE);
		if (ret)
			return ret;
		end_call(core);
	}
	return 0;
}

static void run_exits(struct core *core)
{
	uint32_t i;

	for (i = 0; i < table(core)->nr_plugins; i++) {
		uint64_t fn = plugin_at(core, i)->exit;

		if (!fn || !runs_here(core, i))
			continue;
		begin_call(core, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, i, fn);
		((void (*)(int, int))fn)(CR_PLUGIN_STAGE__RESTORE, 0);
		end_call(core);
	}
}

/* On failure the status keeps naming the call that failed. */
int64_t core_run_hooks(struct core *core, uint32_t hook)
{
	const struct crpie_table_hook *entry = (const struct crpie_table_hook *)table(core)->hooks;
	const struct crpie_table_hook *end = entry + table(core)->nr_hooks;
	int64_t ret = 0;

	if (hook == CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED)
		ret = run_inits(core);
	for (; !ret && entry < end; entry++) {
		if (entry->hook != hook || !runs_here(core, entry->plugin))
			continue;
		begin_call(core, hook, entry->plugin, entry->fn);
		ret = call_hook(core, entry);
		if (ret == -EOPNOTSUPP)
			ret = 0;
		if (!ret)
			end_call(core);
	}
	if (!ret && hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN)
		run_exits(core);
	return ret;
}
