/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* The kernel's timer ids; libc's timer_t is something else for some kinds. */
static int ids[6];
static char before[4096];
static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static int create(clockid_t clock, int notify, int sig, int value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = value };
	int id = -1;

	if (notify == SIGEV_THREAD_ID)
		ev.sigev_notify_thread_id = gettid();
	MUST(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	return id;
}

static void arm(int id, long sec, long interval_ms)
{
	struct itimerspec spec = {
		.it_value = { .tv_sec = sec, .tv_nsec = sec ? 0 : interval_ms * 1000000 },
		.it_interval = { .tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1000000 },
	};

	MUST(syscall(SYS_timer_settime, id, 0, &spec, NULL) == 0);
}

void timers_setup(void)
{
	struct itimerval real = { .it_value = { 1000, 0 }, .it_interval = { 7, 500000 } };
	struct itimerval virt = { .it_value = { 2000, 0 }, .it_interval = { 3, 0 } };
	struct sigaction act = { .sa_handler = tick, .sa_flags = SA_RESTART };

	MUST(setitimer(ITIMER_REAL, &real, NULL) == 0 && setitimer(ITIMER_VIRTUAL, &virt, NULL) == 0);
	MUST(sigaction(SIGRTMIN + 5, &act, NULL) == 0);
	ids[0] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 5, 100);
	ids[1] = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 5, 101);
	ids[2] = create(CLOCK_REALTIME, SIGEV_NONE, 0, 0);
	ids[3] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 5, 103);
	ids[4] = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 5, 104);
	ids[5] = create(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGRTMIN + 5, 105);
	MUST(syscall(SYS_timer_delete, ids[1]) == 0 && syscall(SYS_timer_delete, ids[3]) == 0); /* holes in the ids */
	arm(ids[0], 0, 20);
	arm(ids[2], 3000, 4000);
	arm(ids[4], 5000, 0); /* ids[5] stays disarmed */
	read_proc("/proc/self/timers", before, sizeof(before));
}

static void check_timer(int id, long sec, long interval)
{
	struct itimerspec spec;

	if (syscall(SYS_timer_gettime, id, &spec) != 0) {
		differs("posix timer %d: %s", id, strerror(errno));
		return;
	}
	CHECK(spec.it_value.tv_sec <= sec && spec.it_value.tv_sec >= sec - 600 &&
		      (sec == 0) == (spec.it_value.tv_sec == 0),
	      "posix timer %d: %ld s left of %ld", id, spec.it_value.tv_sec, sec);
	CHECK(spec.it_interval.tv_sec == interval, "posix timer %d: interval %ld", id, spec.it_interval.tv_sec);
}

static void check_itimer(int which, long sec, long interval_us)
{
	struct itimerval got;

	getitimer(which, &got);
	CHECK(got.it_value.tv_sec <= sec && got.it_value.tv_sec > sec - 600, "itimer %d: %ld s left of %ld", which,
	      got.it_value.tv_sec, sec);
	CHECK(got.it_interval.tv_sec * 1000000 + got.it_interval.tv_usec == interval_us, "itimer %d: interval", which);
}

void timers_verify(void)
{
	char after[sizeof(before)];
	int had = ticks;

	check_itimer(ITIMER_REAL, 1000, 7500000);
	check_itimer(ITIMER_VIRTUAL, 2000, 3000000);
	check_timer(ids[2], 3000, 4);
	check_timer(ids[4], 5000, 0);
	check_timer(ids[5], 0, 0);
	CHECK(syscall(SYS_timer_delete, ids[1]) != 0 && syscall(SYS_timer_delete, ids[3]) != 0,
	      "deleted timers are back");
	for (int i = 0; i < 100 && ticks < had + 3; i++)
		usleep(10000);
	CHECK(ticks >= had + 3, "the 20 ms timer does not tick");
	read_proc("/proc/self/timers", after, sizeof(after));
	CHECK(strcmp(before, after) == 0, "/proc/self/timers is\n%swas\n%s", after, before);
}
