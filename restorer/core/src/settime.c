// SPDX-License-Identifier: Apache-2.0
/* Timers as hooks have changed them, in both cores. */
#include "hooks.h"
#include "syscall.h"

#define NSEC_PER_SEC 1000000000LL

/* Rounds up: what remains must not become 0, which stops the timer. */
static int64_t microseconds(int64_t ns)
{
	return ns / 1000 + (ns % 1000 != 0);
}

static long set_itimer(const struct crpie_timer *timer)
{
	int64_t interval = microseconds(timer->interval_ns), remaining = microseconds(timer->remaining_ns);
	int64_t spec[4] = { interval / 1000000, interval % 1000000, remaining / 1000000, remaining % 1000000 };

	return sys3(__NR_setitimer, timer->kind, (long)spec, 0);
}

long set_timer(const struct crpie_timer *timer)
{
	int64_t spec[4] = { timer->interval_ns / NSEC_PER_SEC, timer->interval_ns % NSEC_PER_SEC,
			    timer->remaining_ns / NSEC_PER_SEC, timer->remaining_ns % NSEC_PER_SEC };

	if (timer->kind != CRPIE_TIMER_POSIX)
		return set_itimer(timer);
	return sys4(__NR_timer_settime, timer->id, 0, (long)spec, 0);
}
