/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that sleeps for days, and timers that take as long: one of setitimer(2), two posix timers, one of which does
 * not run. With an argument hooks are expected to end the sleep and to make the times so many times as long.
 */
#include "victim.h"
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

int victim_failures;

#define DAY 86400

static int factor = 1;
static timer_t timer, idle;

static void *sleeper(void *woken)
{
	const struct timespec day = { DAY, 0 };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &day, NULL) != 0) /* CRIU has it return EINTR */
		;
	__atomic_store_n((int *)woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void start_timers(void)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };

	MUST(setitimer(ITIMER_REAL, &(struct itimerval){ { 2 * DAY, 5 }, { DAY, 0 } }, NULL) == 0);
	MUST(timer_create(CLOCK_MONOTONIC, &none, &timer) == 0 && timer_create(CLOCK_REALTIME, &none, &idle) == 0);
	MUST(timer_settime(timer, 0, &(struct itimerspec){ { 4 * DAY, 7 }, { 3 * DAY, 0 } }, NULL) == 0);
}

/* An hour for dump and restore. */
static void check_left(const char *what, time_t left, time_t want)
{
	CHECK(left <= want && left >= want - 3600, "%s: %ld s are left of %ld", what, (long)left, (long)want);
}

static void check_timers(void)
{
	struct itimerval real;
	struct itimerspec posix, rest;

	getitimer(ITIMER_REAL, &real);
	timer_gettime(timer, &posix);
	timer_gettime(idle, &rest);
	CHECK(real.it_interval.tv_sec == 2 * DAY * factor && real.it_interval.tv_usec == 5 * factor,
	      "ITIMER_REAL: interval %ld.%06ld", (long)real.it_interval.tv_sec, (long)real.it_interval.tv_usec);
	check_left("ITIMER_REAL", real.it_value.tv_sec, (time_t)DAY * factor);
	CHECK(posix.it_interval.tv_sec == 4 * DAY * factor && posix.it_interval.tv_nsec == 7 * factor,
	      "timer: interval %ld.%09ld", (long)posix.it_interval.tv_sec, posix.it_interval.tv_nsec);
	check_left("timer", posix.it_value.tv_sec, (time_t)3 * DAY * factor);
	CHECK(rest.it_value.tv_sec == 0 && rest.it_value.tv_nsec == 0, "the other timer runs");
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int woken = 0;

	victim_begin();
	if (argc > 1)
		factor = atoi(argv[1]);
	start_timers();
	MUST(pthread_create(&thread, NULL, sleeper, &woken) == 0);
	victim_wait();
	check_timers();
	if (argc > 1)
		pthread_join(thread, NULL); /* for a day, if nobody has ended the sleep */
	else
		CHECK(!__atomic_load_n(&woken, __ATOMIC_SEQ_CST), "the thread has been woken up");
	return victim_end();
}
