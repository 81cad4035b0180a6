// SPDX-License-Identifier: Apache-2.0
/* The graft's side of a call into a plugin: the watchdog and the signal handler watch over it, and may abort it. */
#include "graft.h"
#include "hooks.h"
#include "syscall.h"

uint32_t graft_failed;

static struct graft_worker *worker_of(const struct caller *caller)
{
	return (struct graft_worker *)caller;
}

const struct crpie_table *caller_table(const struct caller *caller)
{
	return (const struct crpie_table *)worker_of(caller)->task->table;
}

/* The table of a task has no other plugins. */
int caller_selects(const struct caller *caller, uint32_t plugin)
{
	(void)caller;
	(void)plugin;
	return 1;
}

int caller_stopped(void)
{
	return __atomic_load_n(&graft_failed, __ATOMIC_ACQUIRE);
}

void caller_describe(struct caller *caller, struct crpie_ctx *ctx)
{
	const struct graft_worker *w = worker_of(caller);

	ctx->pid = w->task->pid;
	ctx->tid = w->thread->tid;
	ctx->nr_threads = w->task->nr_threads;
	ctx->dump_time_ns = w->task->dump_time_ns;
	ctx->restore_time_ns = graft_clock(0 /* CLOCK_REALTIME */);
	ctx->comm = (const char *)w->task->comm;
	ctx->vmas = (const struct crpie_vma *)w->task->vmas;
	ctx->nr_vmas = w->task->nr_vmas;
	ctx->mm = (const struct crpie_mm *)w->task->mm;
	ctx->timers = (struct crpie_timer *)w->task->timers;
	ctx->nr_timers = w->task->nr_timers;
	ctx->log = graft_log;
}

struct crpie_regs *caller_regs(struct caller *caller)
{
	return (struct crpie_regs *)worker_of(caller)->thread->regs;
}

const struct crpie_timer *caller_timers(const struct caller *caller)
{
	const struct graft_task *task = worker_of(caller)->task;

	return (const struct crpie_timer *)task->timers + task->nr_timers;
}

/* criu has started the timers: those that a hook changes are set at once. */
static int keep_timers(const struct crpie_ctx *ctx, struct crpie_timer *kept)
{
	uint64_t i;

	for (i = 0; i < ctx->nr_timers; i++) {
		const struct crpie_timer *timer = ctx->timers + i;
		int ret = 0;

		if (timer->remaining_ns != kept[i].remaining_ns || timer->interval_ns != kept[i].interval_ns)
			ret = set_timer(timer);
		if (ret)
			return ret;
		kept[i] = *timer;
	}
	return 0;
}

int caller_keep(struct caller *caller, const struct crpie_ctx *ctx)
{
	if (worker_of(caller)->aborted)
		return 0;
	if (ctx->regs)
		graft_set_regs(worker_of(caller)->thread, ctx->regs);
	return ctx->timers ? keep_timers(ctx, (struct crpie_timer *)caller_timers(caller)) : 0;
}

void caller_begin(struct caller *caller, uint32_t hook, uint32_t plugin, uint64_t fn)
{
	struct graft_worker *w = worker_of(caller);

	w->plugin = plugin;
	w->fn = fn;
	w->aborted = 0;
	w->began = graft_clock(1 /* CLOCK_MONOTONIC */);
	__atomic_fetch_add(&w->seq, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&w->hook, hook, __ATOMIC_RELEASE);
}

int caller_enter(struct caller *caller, uint64_t fn, uint64_t arg0, uint64_t arg1, uint64_t arg2)
{
	return graft_call(fn, arg0, arg1, arg2, &worker_of(caller)->resume);
}

static void fail(struct graft_worker *w, int64_t result)
{
	struct graft_cause cause = { GRAFT_WHY_RETURNED, result, 0, 0 };
	struct graft_line line;

	if (!w->aborted) { /* what aborted the call has said why */
		graft_begin_line(&line, w);
		graft_put(&line, "returned ");
		graft_put_int(&line, result);
		graft_end_line(&line, w->task);
	}
	if (w->task->on_error == GRAFT_ON_ERROR_KILL)
		graft_give_up(w, &cause);
	__atomic_store_n(&graft_failed, 1, __ATOMIC_RELEASE);
}

int caller_end(struct caller *caller, int result)
{
	struct graft_worker *w = worker_of(caller);

	if (w->aborted || (result && result != -EOPNOTSUPP))
		fail(w, result);
	__atomic_store_n(&w->hook, 0, __ATOMIC_RELEASE);
	return w->aborted ? -EINTR : result; /* an aborted call has left any value behind */
}
