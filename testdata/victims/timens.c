/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task in a time namespace of its own, whose monotonic clock is days ahead and whose boot-time clock is hours ahead
 * of the host's, time_namespaces(7): the clocks go on from there, and so do timers with absolute times on them.
 */
#include "victim.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/timerfd.h>
#include <time.h>

int victim_failures;

#define MONOTONIC 300000
#define BOOTTIME 20000

static void enter(void)
{
	char offsets[64];
	int fd, length = snprintf(offsets, sizeof(offsets), "monotonic %d 0\nboottime %d 0\n", MONOTONIC, BOOTTIME);

	MUST(unshare(CLONE_NEWTIME) == 0);
	MUST((fd = open("/proc/self/timens_offsets", O_WRONLY)) >= 0 && write(fd, offsets, length) == length &&
	     close(fd) == 0);
	MUST((fd = open("/proc/self/ns/time_for_children", O_RDONLY)) >= 0 && setns(fd, CLONE_NEWTIME) == 0 &&
	     close(fd) == 0);
}

static long seconds(clockid_t clock)
{
	struct timespec now;

	MUST(clock_gettime(clock, &now) == 0);
	return now.tv_sec;
}

int main(void)
{
	long monotonic, boottime, before;
	struct itimerspec at = { 0 }, left;
	int timer;

	victim_begin();
	before = seconds(CLOCK_MONOTONIC);
	enter();
	monotonic = seconds(CLOCK_MONOTONIC);
	boottime = seconds(CLOCK_BOOTTIME);
	MUST(monotonic - before >= MONOTONIC);
	at.it_value.tv_sec = monotonic + 5000;
	MUST((timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0 &&
	     timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) == 0);

	victim_wait();
	CHECK(seconds(CLOCK_MONOTONIC) >= monotonic && seconds(CLOCK_MONOTONIC) < monotonic + 1000,
	      "monotonic clock %ld, was %ld", seconds(CLOCK_MONOTONIC), monotonic);
	CHECK(seconds(CLOCK_BOOTTIME) >= boottime && seconds(CLOCK_BOOTTIME) < boottime + 1000,
	      "boot-time clock %ld, was %ld", seconds(CLOCK_BOOTTIME), boottime);
	CHECK(timerfd_gettime(timer, &left) == 0 && left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000,
	      "timer: %ld s left", (long)left.it_value.tv_sec);
	return victim_end();
}
