// SPDX-License-Identifier: Apache-2.0
/*
 * What stands between a bad hook and the application: handlers for crashes, and a thread that watches the clock.
 *
 * The application's dispositions are taken down while hooks run and put back as they were. The watchdog is a thread of
 * its own, so that no timer, itimer or signal number of the application is touched; it ends before the threads leave.
 */
#include "graft.h"
#include "syscall.h"

#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>
#include <linux/futex.h>
#include <linux/sched.h>

#define SIGSYS_NR 31
#define NUDGE SIGBUS /* what the watchdog sends to leave a hook */
#define CLOCK_MONOTONIC_ID 1

static const int crash_signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS_NR };
#define NR_CRASH (sizeof(crash_signals) / sizeof(crash_signals[0]))

static struct sigaction saved[NR_CRASH];
static uint32_t nr_saved;
static uint32_t finished;    /* futex: the watchdog may end */
static int32_t watchdog_tid; /* futex: the kernel clears it when the watchdog has ended */

static uint64_t crash_mask(void)
{
	uint64_t mask = 0;
	uint32_t i;

	for (i = 0; i < NR_CRASH; i++)
		mask |= 1UL << (crash_signals[i] - 1);
	return mask;
}

void graft_wait_at_least(uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) < value)
		sys4(__NR_futex, (long)word, FUTEX_WAIT_PRIVATE, seen, 0);
}

/* Sets the word, or adds 1 when value is 0, and wakes everybody. */
void graft_raise(uint32_t *word, uint32_t value)
{
	if (value)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
	else
		__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
	sys3(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, 0x7fffffff);
}

int64_t graft_clock(int clock)
{
	int64_t ts[2] = { 0, 0 };

	sys2(__NR_clock_gettime, clock, (long)ts);
	return ts[0] * 1000000000 + ts[1];
}

/* Set once by the leader: how a handler finds its way. */
static const struct graft_task *the_task;

static struct graft_worker *this_worker(int32_t tid, const struct graft_task **task)
{
	const struct graft_thread *threads;
	uint32_t i;

	*task = the_task;
	threads = (const struct graft_thread *)the_task->threads;
	for (i = 0; i < the_task->nr_threads; i++)
		if (threads[i].tid == tid)
			return graft_worker_of(&threads[i]);
	return 0;
}

static void put_place(struct graft_line *line, const struct graft_worker *w, uint64_t ip)
{
	if (ip >= w->fn && ip - w->fn < (1 << 20)) {
		graft_put(line, " at the hook's function+");
		graft_put_hex(line, ip - w->fn);
	}
	if (ip >= w->task->blob_start && ip < w->task->blob_start + w->task->blob_size) {
		graft_put(line, ", blob+");
		graft_put_hex(line, ip - w->task->blob_start);
		return;
	}
	graft_put(line, ", outside the blob at ");
	graft_put_hex(line, ip);
}

static struct graft_cause report_crash(const struct graft_worker *w, int sig, const siginfo_t *info, uint64_t ip)
{
	struct graft_line line;
	uint64_t at = (uint64_t)info->si_addr;

	graft_begin_line(&line, w);
	graft_put(&line, "crashed with signal ");
	graft_put_int(&line, sig);
	if (sig == SIGSEGV || sig == SIGBUS) {
		graft_put(&line, " at address ");
		graft_put_hex(&line, at);
		if (at >= w->thread->slot && at < w->thread->slot + GRAFT_GUARD)
			graft_put(&line, ", the guard of its stack (a hook has 124 KiB)");
	}
	put_place(&line, w, ip);
	graft_end_line(&line, w->task);
	return (struct graft_cause){ GRAFT_WHY_CRASHED, sig, at, ip };
}

static struct graft_cause report_timeout(const struct graft_worker *w)
{
	struct graft_line line;

	graft_begin_line(&line, w);
	graft_put(&line, "still running after ");
	graft_put_int(&line, w->task->timeout_ns / 1000000);
	graft_put(&line, " ms (--pie-timeout)");
	graft_end_line(&line, w->task);
	return (struct graft_cause){ GRAFT_WHY_TOO_LONG, w->task->timeout_ns / 1000000, 0, 0 };
}

/* Somebody else's signal: it goes back into the queue, blocked, and is there when the application goes on. */
static void put_back(int sig, siginfo_t *info, struct ucontext *uc, int32_t pid, int32_t tid)
{
	uc->uc_sigmask |= 1UL << (sig - 1);
	sys4(__NR_rt_tgsigqueueinfo, pid, tid, sig, (long)info);
}

static void on_signal(int sig, siginfo_t *info, struct ucontext *uc)
{
	int32_t tid = sys0(__NR_gettid);
	const struct graft_task *task;
	struct graft_worker *w = this_worker(tid, &task);
	struct graft_cause cause;
	int nudged = w && __atomic_load_n(&w->timed_out, __ATOMIC_ACQUIRE) && info->si_code == SI_TKILL;

	if (info->si_code <= 0 && !nudged) {
		put_back(sig, info, uc, sys0(__NR_getpid), tid);
		return;
	}
	if (nudged) {
		uint32_t late = __atomic_exchange_n(&w->timed_out, 0, __ATOMIC_ACQ_REL) == w->seq && w->hook;

		if (!late) /* the hook has returned meanwhile */
			return;
		cause = report_timeout(w);
	} else {
		cause = report_crash(w, sig, info, uc->uc_mcontext.rip);
	}
	if (!w->hook || task->on_error == GRAFT_ON_ERROR_KILL)
		graft_give_up(w, &cause);
	w->aborted = 1;
	uc->uc_mcontext.rip = (uint64_t)graft_call_end;
	uc->uc_mcontext.rsp = w->resume;
	uc->uc_mcontext.eflags = 0x202;
}

static int64_t install_handlers(void)
{
	struct sigaction act = {
		.sa_handler = (__sighandler_t)(uint64_t)on_signal, /* SA_SIGINFO: with three arguments */
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER,
		.sa_restorer = graft_restorer,
		.sa_mask = ~0UL,
	};

	for (; nr_saved < NR_CRASH; nr_saved++) {
		int64_t err = sys4(__NR_rt_sigaction, crash_signals[nr_saved], (long)&act, (long)&saved[nr_saved], 8);

		if (err)
			return err;
	}
	return 0;
}

/* Gives up on a call that has gone on for too long. */
static void check_worker(struct graft_worker *w, int64_t now)
{
	uint32_t seq = __atomic_load_n(&w->seq, __ATOMIC_ACQUIRE);

	if (!__atomic_load_n(&w->hook, __ATOMIC_ACQUIRE) || now - w->began < w->task->timeout_ns)
		return;
	if (seq != __atomic_load_n(&w->seq, __ATOMIC_ACQUIRE) || w->timed_out == seq)
		return;
	if (w->task->on_error == GRAFT_ON_ERROR_KILL) {
		struct graft_cause cause = report_timeout(w);

		graft_give_up(w, &cause);
	}
	__atomic_store_n(&w->timed_out, seq, __ATOMIC_RELEASE);
	sys3(__NR_tgkill, w->task->pid, w->thread->tid, NUDGE);
}

#define LOOKS 8 /* per timeout */

static void watchdog(void *arg)
{
	const struct graft_task *task = arg;
	const struct graft_thread *threads = (const struct graft_thread *)task->threads;
	int64_t pause = task->timeout_ns / LOOKS + 1;
	int64_t ts[2] = { pause / 1000000000, pause % 1000000000 };
	uint32_t i;

	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
		sys4(__NR_futex, (long)&finished, FUTEX_WAIT_PRIVATE, 0, (long)ts);
		for (i = 0; i < task->nr_threads; i++) {
			struct graft_worker *w = graft_worker_of(&threads[i]);

			if (w->task) /* the thread is there */
				check_worker(w, graft_clock(CLOCK_MONOTONIC_ID));
		}
	}
}

static int64_t start_watchdog(const struct graft_task *task)
{
	const uint64_t flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			       CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	int64_t tid;

	if (!task->timeout_ns)
		return 0;
	tid = graft_clone(flags, task->watchdog_slot + GRAFT_SLOT, &watchdog_tid, &watchdog_tid, watchdog,
			  (void *)task);
	return tid < 0 ? tid : 0;
}

static void fail_guard(struct graft_worker *w, const char *what, int64_t err)
{
	struct graft_cause cause = { GRAFT_WHY_UNGUARDED, err, 0, 0 };
	struct graft_line line;

	graft_begin_line(&line, w);
	graft_put(&line, what);
	graft_put_int(&line, err);
	graft_end_line(&line, w->task);
	if (w->task->on_error == GRAFT_ON_ERROR_KILL)
		graft_give_up(w, &cause);
	graft_failed = 1;
}

/* Not 0: no plugin may be called. */
int64_t graft_guard_task(struct graft_worker *w)
{
	int64_t err;

	the_task = w->task;
	err = install_handlers();
	if (err) {
		fail_guard(w, "rt_sigaction for the handler of crashes: ", err);
		return err;
	}
	err = start_watchdog(w->task);
	if (err)
		fail_guard(w, "clone for the watchdog (--pie-timeout=0 needs none): ", err);
	return err;
}

void graft_guard_thread(struct graft_worker *w)
{
	uint64_t mask = crash_mask();
	stack_t stack = {
		.ss_sp = (char *)w + sizeof(*w),
		.ss_size = GRAFT_SIGSTACK - sizeof(*w),
	};

	sys2(__NR_sigaltstack, (long)&stack, 0);
	sys4(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&mask, 0, 8);
}

void graft_unguard_thread(void)
{
	uint64_t all = ~0UL;

	sys4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 8);
}

/* Every thread blocks every signal by now. */
void graft_unguard_task(struct graft_worker *w)
{
	int32_t tid;

	(void)w;
	graft_raise(&finished, 1);
	while ((tid = __atomic_load_n(&watchdog_tid, __ATOMIC_ACQUIRE)) != 0)
		sys4(__NR_futex, (long)&watchdog_tid, FUTEX_WAIT, tid, 0); /* the kernel wakes without PRIVATE */
	while (nr_saved > 0) {
		nr_saved--;
		sys4(__NR_rt_sigaction, crash_signals[nr_saved], (long)&saved[nr_saved], 0, 8);
	}
}
