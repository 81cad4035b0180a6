// SPDX-License-Identifier: Apache-2.0
/* Posix timers. */
#include "core.h"
#include "hooks.h"
#include "syscall.h"

#include <linux/time.h>

#define TIMER_ATTEMPTS 65536
#define NSEC_PER_SEC 1000000000LL

/*
 * The kernel numbers a process's posix timers itself. Since 6.16 a process may ask for the number it wants
 * (PR_TIMER_CREATE_RESTORE_IDS, prctl(2)); before, numbers are handed out in order and the wrong ones are given back.
 */
int64_t core_create_timer(const struct crpie_op *op)
{
	int id = op->create_timer.id;
	int tries;
	int64_t ret;

	for (tries = 0; tries < TIMER_ATTEMPTS; tries++) {
		ret = sys3(__NR_timer_create, op->create_timer.clock, op->create_timer.sigevent, (long)&id);
		if (ret < 0 || id == (int)op->create_timer.id)
			return ret;
		sys1(__NR_timer_delete, id);
		id = op->create_timer.id;
	}
	return -EBUSY;
}

static int64_t nanoseconds(const int64_t *timespec)
{
	return timespec[0] * NSEC_PER_SEC + timespec[1];
}

/*
 * Timers set to a time that has passed expire in timer_settime(2), also those of CPU time, which does not pass while we
 * wait. A periodic one expired an interval before its next time.
 */
int64_t core_expire_timer(const struct crpie_op *op)
{
	const int64_t *spec = (const int64_t *)op->expire_timer.spec; /* the interval, what is left */
	int64_t past[4] = { spec[0], spec[1] };
	int64_t now[2], at, since, ret;

	ret = sys2(__NR_clock_gettime, op->expire_timer.clock, (long)now);
	if (ret < 0)
		return ret;
	at = nanoseconds(now);
	since = nanoseconds(spec) - nanoseconds(spec + 2);
	if (since > 0)
		at = since < at ? at - since : 1;
	past[2] = at / NSEC_PER_SEC;
	past[3] = at % NSEC_PER_SEC;
	return sys4(__NR_timer_settime, op->expire_timer.id, TIMER_ABSTIME, (long)past, 0);
}

/* The number of operations to skip: those that start the timer as it was dumped, or none. */
int64_t core_start_timer(const struct core *core, const struct crpie_op *op)
{
	const struct crpie_timer *timer = (const struct crpie_timer *)core->task->timers + op->start_timer.timer;
	const struct crpie_timer *dumped =
		(const struct crpie_timer *)core->task->dumped_timers + op->start_timer.timer;
	int64_t ret;

	if (timer->remaining_ns == dumped->remaining_ns && timer->interval_ns == dumped->interval_ns)
		return 0;
	ret = set_timer(timer);
	return ret < 0 ? ret : (int64_t)op->start_timer.skip;
}
