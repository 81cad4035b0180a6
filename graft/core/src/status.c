// SPDX-License-Identifier: Apache-2.0
/*
 * What a supervisor outside learns of the task, and its answer. It reads and writes graft_status by process_vm_readv(2)
 * and process_vm_writev(2): a descriptor would be the application's, and CRIU restores no other. The task does not go on,
 * and does not end, before it has got an answer or was killed; without a supervisor it ends by itself.
 */
#include "graft.h"
#include "syscall.h"

#include <linux/futex.h>

struct graft_status graft_status;

static _Noreturn void end_task(void)
{
	for (;;) /* not SIGKILL: the first process of a pid namespace cannot send it to itself, pid_namespaces(7) */
		sys1(__NR_exit_group, GRAFT_EXIT_STATUS);
}

/* Nobody outside can wake a private futex: the word is looked at every millisecond. */
static void await_answer(const struct graft_task *task)
{
	struct graft_status *s = &graft_status;
	int64_t look[2] = { 0, 1000000 }, since = graft_clock(1 /* CLOCK_MONOTONIC */);
	uint32_t seen = 0;

	while (!__atomic_load_n(&s->answer, __ATOMIC_ACQUIRE)) {
		uint32_t watched = __atomic_load_n(&s->watched, __ATOMIC_RELAXED);
		int64_t now = graft_clock(1);

		if (watched != seen) {
			seen = watched;
			since = now;
		}
		if (now - since > task->patience_ns)
			end_task();
		sys4(__NR_futex, (long)&s->answer, FUTEX_WAIT_PRIVATE, 0, (long)look);
	}
}

void graft_begin_status(const struct graft_task *task)
{
	if (task->patience_ns)
		__atomic_store_n(&graft_status.state, GRAFT_STATE_RUNNING, __ATOMIC_RELEASE);
}

/* All hooks have run. */
void graft_finish_status(const struct graft_task *task)
{
	if (!task->patience_ns)
		return;
	__atomic_store_n(&graft_status.state, GRAFT_STATE_DONE, __ATOMIC_RELEASE);
	await_answer(task);
}

/* Writes the failure into the status, unless another thread has written one before. */
static void tell(const struct graft_worker *w, const struct graft_cause *cause)
{
	struct graft_status *s = &graft_status;
	uint32_t running = GRAFT_STATE_RUNNING;

	if (!__atomic_compare_exchange_n(&s->state, &running, GRAFT_STATE_FAILING, 0, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	s->kind = cause->kind;
	s->number = cause->number;
	s->address = cause->address;
	s->ip = cause->ip;
	s->hook = w->hook;
	s->plugin = w->plugin;
	s->tid = w->thread->tid;
	s->fn = w->fn;
	__atomic_store_n(&s->state, GRAFT_STATE_FAILED, __ATOMIC_RELEASE);
}

_Noreturn void graft_give_up(const struct graft_worker *w, const struct graft_cause *cause)
{
	if (w->task->patience_ns) {
		tell(w, cause);
		await_answer(w->task);
	}
	end_task();
}
