// SPDX-License-Identifier: Apache-2.0
/* The restorer's side of a call into a plugin: the thread's status says what is being called, for the controller. */
#include "core.h"
#include "hooks.h"
#include "syscall.h"

#include <asm/signal.h>

static struct core *core_of(const struct caller *caller)
{
	return (struct core *)caller;
}

const struct crpie_table *caller_table(const struct caller *caller)
{
	return (const struct crpie_table *)core_of(caller)->task->table;
}

int caller_selects(const struct caller *caller, uint32_t plugin)
{
	return ((const uint8_t *)core_of(caller)->task->runs)[plugin];
}

int caller_stopped(void)
{
	return 0; /* a call that fails undoes the whole restore, by the controller */
}

void caller_describe(struct caller *caller, struct crpie_ctx *ctx)
{
	const struct core *core = core_of(caller);

	ctx->pid = core->task->pid;
	ctx->tid = core->thread->tid;
	ctx->nr_threads = core->task->nr_threads;
	ctx->dump_time_ns = core->plan->dump_time_ns;
	ctx->restore_time_ns = core->plan->restore_time_ns;
	ctx->comm = (const char *)core->task->comm;
	ctx->vmas = (const struct crpie_vma *)core->task->vmas;
	ctx->nr_vmas = core->task->nr_vmas;
	ctx->mm = (const struct crpie_mm *)core->task->mm;
	ctx->timers = (struct crpie_timer *)core->task->timers;
	ctx->nr_timers = core->task->nr_timers;
	ctx->log = core_log;
}

/*
 * Before and after a call that a debugger looks at, or the controller itself. The controller, which has asked for it in
 * the plan, sees SIGSTOP and lets the thread go on.
 */
static void pause_for_controller(const struct crpie_plan *plan, uint32_t hook, uint32_t plugin)
{
	int meant =
		hook == plan->pause_hook && (plan->pause_plugin == CRPIE_MAX_PLUGINS || plan->pause_plugin == plugin);

	if (hook && (meant || plan->pause_hook == CRPIE_EVERY_CALL))
		sys2(__NR_tkill, sys0(__NR_gettid), SIGSTOP);
}

struct crpie_regs *caller_regs(struct caller *caller)
{
	const struct core *core = core_of(caller);
	const struct crpie_thread *leader = (const struct crpie_thread *)core->task->threads;
	struct crpie_regs *all = (struct crpie_regs *)core->task->regs;

	return all ? all + (core->thread - leader) : 0;
}

const struct crpie_timer *caller_timers(const struct caller *caller)
{
	return (const struct crpie_timer *)core_of(caller)->task->dumped_timers;
}

/* The controller reads the registers when every thread is parked, and START_TIMER the timers. */
int caller_keep(struct caller *caller, const struct crpie_ctx *ctx)
{
	(void)caller;
	(void)ctx;
	return 0;
}

void caller_begin(struct caller *caller, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	struct core *core = core_of(caller);

	core->bell->call[core->thread->status] = (struct crpie_call){ hook, plugin, fn };
	core->status->plugin = plugin;
	core->status->fn = fn;
	__atomic_store_n(&core->status->hook, hook, __ATOMIC_RELEASE);
	__atomic_fetch_add(&core->status->hook_seq, 1, __ATOMIC_RELEASE);
	pause_for_controller(core->plan, hook, plugin);
}

/* Every plugin's function fits this: the psABI passes arguments in registers, and a callee ignores those that it does not take. */
int caller_enter(struct caller *caller, uint64_t fn, uint64_t arg0, uint64_t arg1, uint64_t arg2)
{
	(void)caller;
	return ((int (*)(uint64_t, uint64_t, uint64_t))fn)(arg0, arg1, arg2);
}

/* Unless the call returned 0 or -ENOTSUP the status keeps naming it. */
int caller_end(struct caller *caller, int result)
{
	struct core *core = core_of(caller);

	core->status->result = result;
	pause_for_controller(core->plan, core->status->hook, core->status->plugin);
	if (result && result != -EOPNOTSUPP)
		return result;
	__atomic_store_n(&core->status->hook, 0, __ATOMIC_RELEASE);
	__atomic_fetch_add(&core->status->hook_seq, 1, __ATOMIC_RELEASE);
	return result;
}

/* 0, or what a hook or init returned that undoes the restore. The inits run before a task's first hook. */
int64_t core_run_hooks(struct core *core, uint32_t hook)
{
	struct caller *caller = (struct caller *)core;
	int ret = 0;

	if (hook == CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED)
		ret = hooks_run_inits(caller);
	return ret ? ret : hooks_run(caller, hook);
}
