/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timers [plain]: every kind of timer in every state: armed, expired with its signal pending, expired and done with,
 * ignored, ticking. A process for each clock of timer_create(2) and timerfd_create(2), and one for each state of an
 * interval timer, of which there are only three in a process. "plain" leaves out what CRIU does not bring back.
 */
#include "victim.h"

#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define LONG 5000    /* seconds: more than a test takes */
#define SOON 2000000 /* nanoseconds */

int victim_failures;

static int plain;
static char what[64]; /* the process: clock or interval timer */

static sigset_t set_of(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return set;
}

static void block(int sig)
{
	sigset_t set = set_of(sig);

	MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

static void unblock(int sig)
{
	sigset_t set = set_of(sig);

	MUST(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static int pending(int sig)
{
	sigset_t set;

	return sigpending(&set) == 0 && sigismember(&set, sig);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Uses up CPU time of every kind until the signal is pending; 20 s of the clock on the wall are given up. */
static int becomes_pending(int sig)
{
	double end = now(CLOCK_MONOTONIC) + 20;

	while (!pending(sig) && now(CLOCK_MONOTONIC) < end)
		for (volatile int i = 0; i < 10000; i++)
			;
	return pending(sig);
}

/* Takes a signal that has come. */
static int take_now(int sig, siginfo_t *info)
{
	const struct timespec no_wait = { 0, 0 };
	sigset_t set = set_of(sig);

	return sigtimedwait(&set, info, &no_wait) == sig;
}

static int take(int sig, siginfo_t *info)
{
	return becomes_pending(sig) && take_now(sig, info);
}

static int about(double left, double full)
{
	return left > full - 1000 && left <= full;
}

static double seconds(struct timespec t)
{
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Interval timers: setitimer(2). */

enum { ARMED, PENDING, ONCE_PENDING, TICKING, IGNORED, NR_ITIMER_STATES };

static const char *const itimer_states[] = { "armed", "pending", "pending once", "ticking", "ignored" };
static const int itimer_signals[] = { SIGALRM, SIGVTALRM, SIGPROF };

static void setup_itimer(int which, int state)
{
	static const struct itimerval values[] = {
		[ARMED] = { { 7, 0 }, { LONG, 0 } },
		[PENDING] = { { LONG, 0 }, { 0, SOON / 1000 } },
		[ONCE_PENDING] = { { 0, 0 }, { 0, SOON / 1000 } },
		[TICKING] = { { 0, SOON / 1000 }, { 0, SOON / 1000 } },
		[IGNORED] = { { LONG, 0 }, { 0, SOON / 1000 } },
	};
	int sig = itimer_signals[which];
	struct itimerval at;

	snprintf(what, sizeof(what), "itimer %d, %s", which, itimer_states[state]);
	if (state == IGNORED)
		signal(sig, SIG_IGN);
	else
		block(sig);
	MUST(setitimer(which, &values[state], NULL) == 0);
	if (state == ARMED)
		return;
	if (state != IGNORED) {
		MUST(becomes_pending(sig));
		return;
	}
	do { /* until it has expired */
		getitimer(which, &at);
	} while (at.it_value.tv_sec == 0 && at.it_value.tv_usec != 0);
}

/* ITIMER_REAL stands still until its signal is taken; the others do not. */
static void check_stands_still(int which)
{
	struct itimerval at;

	getitimer(which, &at);
	CHECK(at.it_interval.tv_sec == LONG, "%s: interval %ld s", what, at.it_interval.tv_sec);
	if (which != ITIMER_REAL)
		CHECK(about(at.it_value.tv_sec, LONG), "%s: next one in %ld s", what, at.it_value.tv_sec);
	else if (!plain)
		CHECK(at.it_value.tv_sec == 0 && at.it_value.tv_usec == 0, "%s: next one in %ld s", what,
		      at.it_value.tv_sec);
}

static void check_goes_on(int which)
{
	struct itimerval at;

	getitimer(which, &at);
	CHECK(about(at.it_value.tv_sec, LONG) && at.it_interval.tv_sec == LONG,
	      "%s: afterwards the next one comes in %ld s", what, at.it_value.tv_sec);
}

static void check_itimer(int which, int state)
{
	int sig = itimer_signals[which];
	struct itimerval at;

	if (state != TICKING)
		CHECK(pending(sig) == (state == PENDING || state == ONCE_PENDING), "%s: signal pending: %d", what,
		      pending(sig));
	switch (state) {
	case ARMED:
		getitimer(which, &at);
		CHECK(about(at.it_value.tv_sec, LONG) && at.it_interval.tv_sec == 7, "%s: %ld s left", what,
		      at.it_value.tv_sec);
		return;
	case PENDING:
		check_stands_still(which);
		CHECK(take(sig, NULL) && !pending(sig), "%s: the signal", what);
		check_goes_on(which);
		return;
	case ONCE_PENDING:
		CHECK(take(sig, NULL), "%s: the signal", what);
		getitimer(which, &at);
		CHECK(at.it_value.tv_sec == 0 && at.it_value.tv_usec == 0 && !pending(sig), "%s: it goes on", what);
		return;
	case TICKING:
		for (int i = 0; i < 3; i++)
			CHECK(take(sig, NULL), "%s: tick %d does not come", what, i);
		return;
	case IGNORED: /* a restored ITIMER_REAL runs for one interval before it stands still again */
		if (which != ITIMER_REAL)
			check_stands_still(which);
		block(sig);
		kill(getpid(), sig); /* taking it wakes ITIMER_REAL up */
		CHECK(take(sig, NULL), "%s: the signal", what);
		check_goes_on(which);
	}
}

/* Timers of timer_create(2), with the kernel's ids. */

enum {
	P_ARMED,
	P_PENDING,
	P_ONCE,
	P_TICKING,
	P_DONE,
	P_IGNORED,
	P_NONE,
	P_NONE_PASSED,
	P_NONE_DONE,
	P_DISARMED,
	P_DELETED,
	P_THREAD,
	NR_POSIX
};

static int ids[NR_POSIX], worker_cpu = -1, worker_tid;
static clockid_t clock_of_all;
static int drops_when_disarmed, drops_when_deleted;
static pthread_barrier_t worker_gate;

static int signal_of(int state)
{
	return SIGRTMIN + 1 + state;
}

static int create(int state, int notify, int tid)
{
	struct sigevent ev = { .sigev_notify = notify,
			       .sigev_signo = signal_of(state),
			       .sigev_value.sival_int = 100 + state };
	int id = -1;

	if (notify == SIGEV_THREAD_ID)
		ev.sigev_notify_thread_id = tid;
	MUST(syscall(SYS_timer_create, clock_of_all, &ev, &id) == 0);
	return id;
}

static void arm(int id, long sec, long nsec, long interval, long interval_ns)
{
	struct itimerspec spec = { { interval, interval_ns }, { sec, nsec } };

	MUST(syscall(SYS_timer_settime, id, 0, &spec, NULL) == 0);
}

static struct itimerspec left(int id)
{
	struct itimerspec at = { { -1, 0 }, { -1, 0 } };

	CHECK(syscall(SYS_timer_gettime, id, &at) == 0, "%s: timer %d: %s", what, id, strerror(errno));
	return at;
}

static void expire(int state, long interval, long interval_ns)
{
	arm(ids[state], 0, SOON, interval, interval_ns);
	MUST(becomes_pending(signal_of(state)));
}

/* Since Linux 6.13 a timer that is set anew or deleted takes its signal back; it seems pending until it is awaited. */
static int drops(int state, int how)
{
	expire(state, LONG, 0);
	if (how == P_DISARMED)
		arm(ids[state], 0, 0, 0, 0);
	else
		MUST(syscall(SYS_timer_delete, ids[state]) == 0);
	return !take_now(signal_of(state), NULL);
}

static int passed(int id)
{
	struct itimerspec at = left(id);

	return at.it_value.tv_sec != 0 || at.it_value.tv_nsec == 0;
}

static void await_passed(int id)
{
	while (!passed(id))
		for (volatile int i = 0; i < 10000; i++)
			;
}

/* The worker has a timer of its CPU time, which does not pass while it waits, and one of which it gets the signal. */
static void *worker(void *arg)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1 + NR_POSIX };
	siginfo_t info;

	worker_tid = gettid();
	ev.sigev_notify_thread_id = worker_tid;
	MUST(syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &ev, &worker_cpu) == 0);
	arm(worker_cpu, LONG, 0, 0, 0);
	pthread_barrier_wait(&worker_gate); /* its number is known */
	MUST(becomes_pending(signal_of(P_THREAD)));
	pthread_barrier_wait(&worker_gate); /* ready */
	pthread_barrier_wait(&worker_gate); /* restored */
	CHECK(pending(signal_of(P_THREAD)), "%s: the thread's signal is not pending", what);
	CHECK(take(signal_of(P_THREAD), &info) && info.si_code == SI_TIMER && info.si_timerid == ids[P_THREAD],
	      "%s: the thread's signal", what);
	CHECK(!pending(signal_of(P_THREAD)), "%s: the thread's signal comes twice", what);
	return arg;
}

static pthread_t thread;

static void setup_posix(clockid_t clock)
{
	static const int notify[NR_POSIX] = {
		[P_NONE] = SIGEV_NONE, [P_NONE_PASSED] = SIGEV_NONE, [P_NONE_DONE] = SIGEV_NONE
	};
	sigset_t all;

	snprintf(what, sizeof(what), "clock %d", clock);
	clock_of_all = clock;
	sigfillset(&all);
	MUST(sigprocmask(SIG_BLOCK, &all, NULL) == 0); /* the worker's signals, too */
	pthread_barrier_init(&worker_gate, NULL, 2);
	MUST(pthread_create(&thread, NULL, worker, NULL) == 0);
	pthread_barrier_wait(&worker_gate);
	for (int state = 0; state < NR_POSIX; state++)
		ids[state] = state == P_THREAD ? create(state, SIGEV_THREAD_ID, worker_tid) :
						 create(state, notify[state], 0);
	drops_when_disarmed = drops(P_DISARMED, P_DISARMED);
	drops_when_deleted = drops(P_DELETED, P_DELETED);
	ids[P_DELETED] = create(P_DELETED, SIGEV_SIGNAL, 0);

	arm(ids[P_ARMED], LONG, 0, 7, 0);
	expire(P_PENDING, LONG, 0);
	expire(P_ONCE, 0, 0);
	expire(P_TICKING, 0, SOON);
	expire(P_DONE, 0, 0);
	MUST(take(signal_of(P_DONE), NULL));
	signal(signal_of(P_IGNORED), SIG_IGN);
	unblock(signal_of(P_IGNORED));
	arm(ids[P_IGNORED], 0, SOON, LONG, 0);
	arm(ids[P_NONE], LONG, 0, 7, 0);
	arm(ids[P_NONE_PASSED], 0, SOON, LONG, 0);
	arm(ids[P_NONE_DONE], 0, SOON, 0, 0);
	await_passed(ids[P_IGNORED]);
	await_passed(ids[P_NONE_PASSED]);
	await_passed(ids[P_NONE_DONE]);
	expire(P_DISARMED, LONG, 0);
	expire(P_DELETED, LONG, 0);
	arm(ids[P_THREAD], 0, SOON, LONG, 0);
	for (volatile int i = 0; clock_of_all == CLOCK_THREAD_CPUTIME_ID && !passed(ids[P_THREAD]); i++)
		; /* the leader's CPU time */
	pthread_barrier_wait(&worker_gate);
}

static void check_left(int state, double value, double interval)
{
	struct itimerspec at = left(ids[state]);

	CHECK(seconds(at.it_interval) == interval &&
		      (value ? about(seconds(at.it_value), value) : seconds(at.it_value) == 0),
	      "%s, timer %d: %g s left of %g, interval %g", what, state, seconds(at.it_value), value,
	      seconds(at.it_interval));
}

static void check_taken(int state)
{
	siginfo_t info = { 0 };

	CHECK(pending(signal_of(state)), "%s, timer %d: its signal is not pending", what, state);
	CHECK(take(signal_of(state), &info), "%s, timer %d: its signal does not come", what, state);
	CHECK(info.si_code == SI_TIMER && info.si_timerid == ids[state] && info.si_value.sival_int == 100 + state,
	      "%s, timer %d: si_code %d of timer %d, value %d", what, state, info.si_code, info.si_timerid,
	      info.si_value.sival_int);
	CHECK(!pending(signal_of(state)), "%s, timer %d: its signal comes twice", what, state);
}

/* The signals belong to their timers: setting or deleting those takes them back, as before. */
static void check_dropped(void)
{
	arm(ids[P_DISARMED], 0, 0, 0, 0);
	CHECK(take_now(signal_of(P_DISARMED), NULL) != drops_when_disarmed,
	      "%s: the signal of a timer that was set anew", what);
	CHECK(syscall(SYS_timer_delete, ids[P_DELETED]) == 0, "%s: timer_delete: %s", what, strerror(errno));
	CHECK(take_now(signal_of(P_DELETED), NULL) != drops_when_deleted, "%s: the signal of a deleted timer", what);
}

static void check_worker_cpu(void)
{
	double until = now(CLOCK_THREAD_CPUTIME_ID) + 0.05;
	struct itimerspec before = left(worker_cpu), after;

	while (now(CLOCK_THREAD_CPUTIME_ID) < until)
		;
	after = left(worker_cpu);
	CHECK(seconds(before.it_value) - seconds(after.it_value) < 0.02,
	      "%s: CPU time of another thread passes: %g s, %g s", what, seconds(before.it_value),
	      seconds(after.it_value));
}

static void check_posix(void)
{
	check_left(P_ARMED, LONG, 7);
	check_left(P_PENDING, LONG, LONG);
	check_taken(P_PENDING);
	check_left(P_PENDING, LONG, LONG);
	check_taken(P_ONCE);
	check_left(P_ONCE, 0, 0);
	for (int i = 0; i < 3; i++)
		CHECK(take(signal_of(P_TICKING), NULL), "%s: tick %d does not come", what, i);
	CHECK(!pending(signal_of(P_DONE)), "%s: a signal comes again", what);
	check_left(P_DONE, 0, 0);
	CHECK(!pending(signal_of(P_IGNORED)), "%s: the ignored signal is pending", what);
	check_left(P_IGNORED, LONG, LONG);
	check_left(P_NONE, LONG, 7);
	check_left(P_NONE_PASSED, LONG, LONG);
	check_left(P_NONE_DONE, 0, 0);
	if (!plain) {
		check_dropped();
		check_worker_cpu();
	}
	pthread_barrier_wait(&worker_gate);
	pthread_join(thread, NULL);
}

/* timerfd_create(2) */

enum { FD_ARMED, FD_UNREAD, FD_ONCE, FD_TICKING, FD_READ, NR_TIMERFDS };

static int fds[NR_TIMERFDS];

static int timerfd(int clock, long sec, long nsec, long interval, long interval_ns)
{
	struct itimerspec spec = { { interval, interval_ns }, { sec, nsec } };
	struct pollfd p = { .events = POLLIN };

	MUST((p.fd = timerfd_create(clock, TFD_NONBLOCK)) >= 0 && timerfd_settime(p.fd, 0, &spec, NULL) == 0);
	MUST(sec || poll(&p, 1, 20000) == 1);
	return p.fd;
}

static void setup_timerfds(clockid_t clock)
{
	uint64_t n;

	snprintf(what, sizeof(what), "timerfd of clock %d", clock);
	fds[FD_ARMED] = timerfd(clock, LONG, 0, 7, 0);
	fds[FD_UNREAD] = timerfd(clock, 0, SOON, LONG, 0);
	fds[FD_ONCE] = timerfd(clock, 0, SOON, 0, 0);
	fds[FD_TICKING] = timerfd(clock, 0, SOON, 0, SOON);
	fds[FD_READ] = timerfd(clock, 0, SOON, 0, 0);
	MUST(read(fds[FD_READ], &n, sizeof(n)) == sizeof(n) && n == 1);
}

static void check_timerfd(int state, uint64_t expirations, double value, double interval)
{
	struct itimerspec at;
	uint64_t n = 0;

	CHECK((expirations == 0) == (read(fds[state], &n, sizeof(n)) < 0) && n == expirations,
	      "%s, %d: %lu expirations", what, state, n);
	CHECK(timerfd_gettime(fds[state], &at) == 0 && seconds(at.it_interval) == interval &&
		      (value ? about(seconds(at.it_value), value) : seconds(at.it_value) == 0),
	      "%s, %d: %g s left of %g, interval %g", what, state, seconds(at.it_value), value,
	      seconds(at.it_interval));
}

static void check_timerfds(void)
{
	check_timerfd(FD_ARMED, 0, LONG, 7);
	check_timerfd(FD_ONCE, 1, 0, 0);
	check_timerfd(FD_READ, 0, 0, 0);
	if (plain)
		return;
	check_timerfd(FD_UNREAD, 1, LONG, LONG);
	for (int i = 0; i < 3; i++) {
		struct pollfd p = { fds[FD_TICKING], POLLIN, 0 };
		uint64_t n;

		CHECK(poll(&p, 1, 20000) == 1 && read(p.fd, &n, sizeof(n)) == sizeof(n), "%s: tick %d does not come",
		      what, i);
	}
}

/* The processes. */

static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC,          CLOCK_BOOTTIME,
				    CLOCK_TAI,      CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID };
static const clockid_t fd_clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };

#define NR(array) ((int)(sizeof(array) / sizeof(*(array))))
#define NR_ITIMERS (3 * NR_ITIMER_STATES)
#define NR_PROCESSES (NR_ITIMERS + NR(clocks) + NR(fd_clocks))

static void setup(int i)
{
	if (i < NR_ITIMERS)
		setup_itimer(i / NR_ITIMER_STATES, i % NR_ITIMER_STATES);
	else if (i < NR_ITIMERS + NR(clocks))
		setup_posix(clocks[i - NR_ITIMERS]);
	else
		setup_timerfds(fd_clocks[i - NR_ITIMERS - NR(clocks)]);
}

static void check(int i)
{
	if (i < NR_ITIMERS)
		check_itimer(i / NR_ITIMER_STATES, i % NR_ITIMER_STATES);
	else if (i < NR_ITIMERS + NR(clocks))
		check_posix();
	else
		check_timerfds();
}

static int ready[2], go[2];

/* One process: tells that it is ready, and goes on when the other end of go is closed. */
static void process(int i)
{
	char byte = 0;

	close(go[1]);
	setup(i);
	MUST(write(ready[1], &byte, 1) == 1);
	while (read(go[0], &byte, 1) < 0 && errno == EINTR)
		;
	check(i);
	fflush(stdout);
	_exit(victim_failures != 0);
}

int main(int argc, char **argv)
{
	char byte;
	int status;

	plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	victim_begin();
	MUST(pipe(ready) == 0 && pipe(go) == 0);
	for (int i = 0; i < NR_PROCESSES; i++) {
		pid_t pid = fork();

		MUST(pid >= 0);
		if (pid == 0)
			process(i);
	}
	for (int i = 0; i < NR_PROCESSES; i++)
		MUST(read(ready[0], &byte, 1) == 1);
	victim_wait();
	close(go[1]);
	for (int i = 0; i < NR_PROCESSES; i++)
		CHECK(wait(&status) > 0 && status == 0, "a process ended with wait status %#x", status);
	return victim_end();
}
