/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"
#include <sys/syscall.h>
#include <time.h>

static sigset_t blocked;
static stack_t alt;
static int handled, on_alt;

static void handler(int sig, siginfo_t *info, void *ctx)
{
	char here;

	(void)sig;
	(void)info;
	(void)ctx;
	handled++;
	on_alt = &here >= (char *)alt.ss_sp && &here < (char *)alt.ss_sp + alt.ss_size;
}

static void queue(int to_thread, int sig, int value)
{
	siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE, .si_value.sival_int = value };

	info.si_pid = getpid();
	info.si_uid = getuid();
	if (to_thread)
		MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sig, &info) == 0);
	else
		MUST(syscall(SYS_rt_sigqueueinfo, getpid(), sig, &info) == 0);
}

void signals_setup(void)
{
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	sigemptyset(&act.sa_mask);
	sigaddset(&act.sa_mask, SIGQUIT);
	MUST(sigaction(SIGRTMIN, &act, NULL) == 0);
	/* Not SIGTRAP: CRIU stops the task with a breakpoint, and the kernel resets an ignored SIGTRAP then. */
	act = (struct sigaction){ .sa_handler = SIG_IGN };
	MUST(sigaction(SIGPIPE, &act, NULL) == 0);
	alt = (stack_t){ .ss_sp = malloc(32768), .ss_size = 32768 };
	MUST(sigaltstack(&alt, NULL) == 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGRTMIN + 1);
	sigaddset(&blocked, SIGRTMIN + 2);
	MUST(sigprocmask(SIG_SETMASK, &blocked, NULL) == 0);
	MUST(kill(getpid(), SIGUSR2) == 0);
	for (int i = 0; i < 3; i++)
		queue(0, SIGRTMIN + 1, 11 + i);
	queue(1, SIGRTMIN + 2, 21);
	queue(1, SIGRTMIN + 2, 22);
	queue(1, SIGTERM, 31);
}

/* The next pending signal sig must carry value. */
static void check_pending(int sig, int code, int value)
{
	struct timespec none = { 0, 0 };
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	memset(&info, 0, sizeof(info));
	if (sigtimedwait(&set, &info, &none) != sig) {
		differs("signal %d with value %d is not pending", sig, value);
		return;
	}
	CHECK(info.si_code == code && info.si_pid == getpid(), "signal %d: code %d from %d", sig, info.si_code,
	      info.si_pid);
	CHECK(code != SI_QUEUE || info.si_value.sival_int == value, "signal %d: value %d, want %d", sig,
	      info.si_value.sival_int, value);
}

static void check_queues(void)
{
	sigset_t pending;

	check_pending(SIGUSR2, SI_USER, 0);
	for (int i = 0; i < 3; i++)
		check_pending(SIGRTMIN + 1, SI_QUEUE, 11 + i);
	check_pending(SIGRTMIN + 2, SI_QUEUE, 21);
	check_pending(SIGRTMIN + 2, SI_QUEUE, 22);
	check_pending(SIGTERM, SI_QUEUE, 31);
	sigpending(&pending);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		CHECK(sigismember(&pending, sig) != 1, "signal %d is pending", sig);
}

static void check_actions(void)
{
	struct sigaction act;

	sigaction(SIGRTMIN, NULL, &act);
	CHECK(act.sa_sigaction == handler, "the handler of SIGRTMIN");
	CHECK((act.sa_flags & ~0x04000000) == (SA_SIGINFO | SA_ONSTACK | SA_RESTART), "sa_flags %#x", act.sa_flags);
	CHECK(sigismember(&act.sa_mask, SIGQUIT) == 1 && sigismember(&act.sa_mask, SIGHUP) == 0, "sa_mask");
	sigaction(SIGPIPE, NULL, &act);
	CHECK(act.sa_handler == SIG_IGN, "SIGPIPE is not ignored");
	raise(SIGRTMIN);
	CHECK(handled == 1 && on_alt, "the handler ran %d times, on the alternate stack: %d", handled, on_alt);
}

void signals_verify(void)
{
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		CHECK(sigismember(&mask, sig) == sigismember(&blocked, sig), "mask of signal %d", sig);
	check_queues();
	check_actions();
}
