// SPDX-License-Identifier: Apache-2.0
/* Waiting for the controller and for other threads and tasks: futexes in the region and in the task's own memory. */
#include "core.h"
#include "syscall.h"

#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/poll.h>

/* The controller sleeps on the bell; it wakes for progress and for failures alike. */
static void ring(struct core *core)
{
	__atomic_fetch_add(&core->bell->rung, 1, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)&core->bell->rung, FUTEX_WAKE, 1);
}

/* Rings for what the controller has to read in the task's own memory. */
void core_news(struct core *core)
{
	__atomic_fetch_add(&core->bell->news, 1, __ATOMIC_RELEASE);
	ring(core);
}

int64_t core_notify(struct core *core, const struct crpie_op *op)
{
	if (op->notify.ready)
		__atomic_fetch_add(&core->bell->ready, 1, __ATOMIC_RELEASE);
	ring(core);
	return 0;
}

static const struct crpie_control *control(const struct core *core)
{
	return (const struct crpie_control *)core->plan->control;
}

static void wait_at_least(const uint32_t *word, uint32_t value, int op)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) < value)
		sys4(__NR_futex, (long)word, op, seen, 0);
}

static int controller_is_gone(int32_t who)
{
	struct pollfd pidfd = { .fd = -who, .events = POLLIN };
	struct {
		int64_t sec, nsec;
	} now = { 0 };

	if (who > 0)
		return sys2(__NR_kill, who, 0) == -ESRCH;
	return sys4(__NR_ppoll, (long)&pidfd, 1, (long)&now, 0) == 1 && pidfd.revents & POLLIN;
}

/*
 * Waits for the controller. The kernel kills a task with the controller only when it is traced, or after it has asked
 * for that: one that the controller's end met before looks for itself, once a second. In a pid namespace of the tasks'
 * own the controller has no number, but the first process has a pidfd of it as long as it waits to be traced.
 */
static void await_controller(const struct core *core, const uint32_t *word, uint32_t value)
{
	struct {
		int64_t sec, nsec;
	} second = { 1, 0 };
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) < value) {
		if (sys4(__NR_futex, (long)word, FUTEX_WAIT, seen, (long)&second) == -ETIMEDOUT &&
		    controller_is_gone(control(core)->controller))
			sys1(__NR_exit_group, 1);
	}
}

int64_t core_wait_gate(struct core *core, const struct crpie_op *op)
{
	await_controller(core, &control(core)->gate, op->wait_gate.gate);
	return 0;
}

int64_t core_wait_traced(struct core *core)
{
	await_controller(core, &control(core)->traced[core->thread->status], 1);
	return 0;
}

int64_t core_arrive_barrier(struct core *core, const struct crpie_op *op)
{
	uint32_t *word = &core->barriers[op->arrive_barrier.barrier % CRPIE_NR_BARRIERS];

	__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, 0x7fffffff);
	return 0;
}

int64_t core_wait_barrier(struct core *core, const struct crpie_op *op)
{
	const uint32_t *word = &core->barriers[op->wait_barrier.barrier % CRPIE_NR_BARRIERS];

	wait_at_least(word, op->wait_barrier.threads, FUTEX_WAIT_PRIVATE);
	return 0;
}

int64_t core_set_mark(struct core *core, const struct crpie_op *op)
{
	__atomic_store_n(&core->status->mark, op->set_mark.mark, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)&core->status->mark, FUTEX_WAKE, 0x7fffffff);
	return 0;
}

int64_t core_wait_mark(struct core *core, const struct crpie_op *op)
{
	wait_at_least(&core->shared->status[op->wait_mark.status].mark, op->wait_mark.mark, FUTEX_WAIT);
	return 0;
}

/*
 * Statuses and marks go on in private memory at the same addresses. mremap(2) exchanges it at once: other threads of
 * the task may be writing theirs.
 */
int64_t core_unshare_status(struct core *core)
{
	const struct crpie_thread *leader = (const struct crpie_thread *)core->task->threads;
	const uint64_t size = core->plan->shared_size;
	struct crpie_status *mine = &core->shared->status[leader->status];
	struct crpie_shared *own;
	int64_t ret;

	ret = sys6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ret < 0)
		return ret;
	own = (struct crpie_shared *)ret;
	__builtin_memcpy(&own->status[leader->status], mine, core->task->nr_threads * sizeof(*mine));
	__atomic_store_n(&mine->state, CRPIE_STATE_LEFT, __ATOMIC_RELEASE);
	ret = sys6(__NR_mremap, (long)own, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (long)core->shared, 0);
	if (ret >= 0)
		return 0;
	__atomic_store_n(&mine->state, CRPIE_STATE_RUNNING, __ATOMIC_RELEASE);
	return ret;
}

/*
 * The last thread to park rings. A parked thread sleeps in pause(2) with every signal blocked until ptrace gives it the
 * application's registers: only SIGKILL ends it sooner.
 */
_Noreturn void core_park(struct core *core)
{
	uint32_t parked;

	__atomic_store_n(&core->status->state, CRPIE_STATE_PARKED, __ATOMIC_RELEASE);
	parked = __atomic_add_fetch(&core->bell->parked, 1, __ATOMIC_RELEASE);
	if (parked >= core->plan->nr_parking)
		core_news(core);
	for (;;)
		sys0(__NR_pause);
}
