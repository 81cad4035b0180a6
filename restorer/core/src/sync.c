// SPDX-License-Identifier: Apache-2.0
/* Waiting for the controller and for sibling threads: futexes in the shared page and in the task's own memory. */
#include "core.h"
#include "syscall.h"

#include <linux/futex.h>

/* The controller sleeps on the bell; it wakes for progress and for failures alike. */
void core_ring(struct crpie_shared *shared)
{
	__atomic_fetch_add(&shared->bell, 1, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)&shared->bell, FUTEX_WAKE, 1);
}

static void wait_at_least(uint32_t *word, uint32_t value, int op)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) < value)
		sys4(__NR_futex, (long)word, op, seen, 0);
}

void core_gate(struct core *core, uint32_t gate)
{
	wait_at_least(&core->shared->gate, gate, FUTEX_WAIT);
}

void core_traced(struct core *core)
{
	wait_at_least(&core->status->traced, 1, FUTEX_WAIT);
}

void core_arrive(struct core *core, uint64_t barrier)
{
	uint32_t *word = &core->barriers[barrier % CRPIE_NR_BARRIERS];

	__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, 0x7fffffff);
}

void core_await(struct core *core, uint64_t barrier, uint32_t count)
{
	wait_at_least(&core->barriers[barrier % CRPIE_NR_BARRIERS], count, FUTEX_WAIT_PRIVATE);
}

void core_mark(struct core *core, uint32_t mark)
{
	__atomic_store_n(&core->status->mark, mark, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)&core->status->mark, FUTEX_WAKE, 0x7fffffff);
}

void core_follow(struct core *core, uint64_t status, uint32_t mark)
{
	wait_at_least(&core->shared->status[status].mark, mark, FUTEX_WAIT);
}

/*
 * The last thread to park rings. A parked thread sleeps in pause(2) with every signal blocked until ptrace gives it the
 * application's registers: only SIGKILL ends it sooner.
 */
_Noreturn void core_park(struct core *core)
{
	uint32_t parked;

	__atomic_store_n(&core->status->state, CRPIE_STATE_PARKED, __ATOMIC_RELEASE);
	parked = __atomic_add_fetch(&core->shared->parked, 1, __ATOMIC_RELEASE);
	if (parked >= core->plan->nr_parking)
		core_ring(core->shared);
	for (;;)
		sys0(__NR_pause);
}
