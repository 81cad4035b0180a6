/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events [plain]: what tells about events: epoll sets in one another, edge-triggered, disarmed after one event,
 * exclusive; timerfds of several clocks, with an absolute time, to be cancelled when the clock is set, and with
 * expirations that nobody has read; a signalfd with signals that wait. "plain" leaves out what CRIU does not bring
 * back: the interval of a timer with such expirations.
 */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

int victim_failures;

static int plain, outer, inner, leaf, edge, once, quiet;
static int expired, at_time, boot, idle;
static int signals;

static void add(int set, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { events, { .u64 = data } };

	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* The data of everything that is ready, added up. */
static uint64_t ready(int set)
{
	struct epoll_event got[8];
	int n = epoll_wait(set, got, 8, 0);
	uint64_t sum = 0;

	while (n > 0)
		sum += got[--n].data.u64;
	return sum;
}

static void setup_epoll(void)
{
	MUST((outer = epoll_create1(0)) >= 0 && (inner = epoll_create1(EPOLL_CLOEXEC)) >= 0 &&
	     (leaf = eventfd(0, 0)) >= 0);
	MUST((edge = eventfd(1, EFD_NONBLOCK)) >= 0 && (once = eventfd(1, 0)) >= 0 && (quiet = eventfd(0, 0)) >= 0);
	add(inner, leaf, EPOLLIN, 1ull << 40);
	add(outer, inner, EPOLLIN, 2);
	add(outer, edge, EPOLLIN | EPOLLET, 4);
	add(outer, once, EPOLLIN | EPOLLONESHOT, 8);
	add(outer, quiet, EPOLLIN | EPOLLEXCLUSIVE, 16);
	MUST(ready(outer) == 12 && ready(outer) == 0);
}

static void check_epoll(void)
{
	struct epoll_event again = { EPOLLIN | EPOLLONESHOT, { .u64 = 32 } };

	ready(outer); /* an edge may be told once more */
	CHECK(ready(outer) == 0 && ready(inner) == 0, "epoll has events");
	CHECK(eventfd_write(leaf, 1) == 0 && ready(outer) == 2 && ready(inner) == 1ull << 40, "the inner epoll set");
	CHECK(eventfd_write(edge, 1) == 0 && ready(outer) == 2 + 4 && ready(outer) == 2, "an edge");
	CHECK(eventfd_write(quiet, 1) == 0 && ready(outer) == 2 + 16, "an exclusive watch");
	CHECK(epoll_ctl(outer, EPOLL_CTL_MOD, once, &again) == 0 && ready(outer) == 2 + 16 + 32 &&
		      ready(outer) == 2 + 16,
	      "a watch for one event");
}

static int timer(int clock, int flags, int settime, time_t sec, long nsec, time_t interval)
{
	struct itimerspec spec = { { interval, 0 }, { sec, nsec } };
	int fd = timerfd_create(clock, flags);

	MUST(fd >= 0 && ((sec == 0 && nsec == 0) || timerfd_settime(fd, settime, &spec, NULL) == 0));
	return fd;
}

static void setup_timers(void)
{
	struct timespec now;
	struct pollfd p;

	MUST(clock_gettime(CLOCK_REALTIME, &now) == 0);
	expired = timer(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, 0, 1000, 5000);
	at_time = timer(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, now.tv_sec + 5000, 0, 0);
	boot = timer(CLOCK_BOOTTIME, 0, TFD_TIMER_ABSTIME, 1 << 30, 0, 7);
	idle = timer(CLOCK_REALTIME, TFD_CLOEXEC, 0, 0, 0, 0);
	p = (struct pollfd){ expired, POLLIN, 0 };
	MUST(poll(&p, 1, 10000) == 1);
}

static unsigned int settime_flags(int fd)
{
	char path[64], line[128];
	unsigned int flags = ~0u;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "settime flags: %o", &flags) != 1)
		;
	if (f)
		fclose(f);
	return flags;
}

static void check_timers(void)
{
	struct itimerspec left = { 0 };
	uint64_t count = 0;

	CHECK(read(expired, &count, 8) == 8 && count == 1, "%lu expirations", count);
	CHECK(plain || (timerfd_gettime(expired, &left) == 0 && left.it_interval.tv_sec == 5000 &&
			left.it_value.tv_sec > 4000),
	      "the next one in %ld s", left.it_value.tv_sec);
	CHECK(timerfd_gettime(at_time, &left) == 0 && left.it_value.tv_sec > 4000 && left.it_value.tv_sec <= 5000,
	      "at a time: in %ld s", left.it_value.tv_sec);
	CHECK(settime_flags(at_time) == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET), "flags %#x",
	      settime_flags(at_time));
	CHECK(timerfd_gettime(boot, &left) == 0 && left.it_interval.tv_sec == 7 && left.it_value.tv_sec > 1 << 29,
	      "since boot: in %ld s", left.it_value.tv_sec);
	CHECK(settime_flags(boot) == TFD_TIMER_ABSTIME, "flags since boot %#x", settime_flags(boot));
	CHECK(timerfd_gettime(idle, &left) == 0 && left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0,
	      "an idle timer runs");
}

static void setup_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 3);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0 &&
	     (signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) >= 0);
	MUST(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 5 }) == 0);
	MUST(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 6 }) == 0 && kill(getpid(), SIGUSR2) == 0);
}

static void check_signals(void)
{
	struct signalfd_siginfo info[4];

	CHECK(read(signals, info, sizeof(info)) == 3 * sizeof(info[0]), "signals are missing");
	CHECK(info[0].ssi_signo == SIGUSR2 && info[1].ssi_int == 5 && info[2].ssi_int == 6, "signals %u, %d, %d",
	      info[0].ssi_signo, info[1].ssi_int, info[2].ssi_int);
	CHECK(read(signals, info, sizeof(info)) < 0 && errno == EAGAIN, "more signals");
}

int main(int argc, char **argv)
{
	victim_begin();
	plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	setup_epoll();
	setup_timers();
	setup_signals();

	victim_wait();
	check_epoll();
	check_timers();
	check_signals();
	return victim_end();
}
