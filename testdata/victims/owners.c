/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners of descriptors, fcntl(2) F_SETOWN_EX and F_SETSIG: the process itself, with a signal of its choice, its child,
 * its process group, a thread, and an owner that was set while the process had other uids. Two of them signal
 * (O_ASYNC).
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/wait.h>

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17 /* linux/fcntl.h, which does not go with fcntl.h */
#endif

int victim_failures;

static int own[2], childs[2], group[2], thread[2], other[2];
static pid_t child;

static void set(int fd, int type, pid_t pid, int sig)
{
	struct f_owner_ex owner = { type, pid };

	MUST(fcntl(fd, F_SETOWN_EX, &owner) == 0 && fcntl(fd, F_SETSIG, sig) == 0);
}

static void check(const char *what, int fd, int type, pid_t pid, int sig)
{
	struct f_owner_ex owner = { -1, -1 };

	CHECK(fcntl(fd, F_GETOWN_EX, &owner) == 0 && (int)owner.type == type && owner.pid == pid,
	      "%s: owner %d of type %d, was %d, %d", what, owner.pid, owner.type, pid, type);
	CHECK(fcntl(fd, F_GETSIG) == sig, "%s: signal %d, was %d", what, fcntl(fd, F_GETSIG), sig);
}

/* The child ends when its pipe signals it. */
static void child_waits(const sigset_t *set)
{
	int sig;

	while ((sig = sigwaitinfo(set, NULL)) < 0 && errno == EINTR) /* the dump interrupts it */
		;
	_exit(sig != SIGRTMIN + 1);
}

static int pending(const sigset_t *set)
{
	struct timespec seconds = { 10, 0 };
	siginfo_t info;

	return sigtimedwait(set, &info, &seconds) < 0 ? -errno : info.si_signo;
}

int main(void)
{
	int status;
	uid_t uids[2];
	sigset_t own_signals, childs_signals;

	victim_begin();
	sigemptyset(&own_signals);
	sigaddset(&own_signals, SIGRTMIN);
	sigemptyset(&childs_signals);
	sigaddset(&childs_signals, SIGRTMIN + 1);
	MUST(sigprocmask(SIG_BLOCK, &own_signals, NULL) == 0 && sigprocmask(SIG_BLOCK, &childs_signals, NULL) == 0);
	MUST(pipe(own) == 0 && pipe(childs) == 0 && pipe(group) == 0 && pipe(thread) == 0 && pipe(other) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0)
		child_waits(&childs_signals);
	set(own[0], F_OWNER_PID, getpid(), SIGRTMIN);
	set(childs[0], F_OWNER_PID, child, SIGRTMIN + 1);
	set(group[0], F_OWNER_PGRP, getpgrp(), 0);
	set(thread[1], F_OWNER_TID, getpid(), SIGURG);
	MUST(setresuid(12, 34, 0) == 0);
	set(other[0], F_OWNER_PID, getpid(), 0);
	MUST(setresuid(0, 0, 0) == 0);
	MUST(fcntl(own[0], F_SETFL, O_ASYNC) == 0 && fcntl(childs[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);

	victim_wait();
	check("own", own[0], F_OWNER_PID, getpid(), SIGRTMIN);
	check("child's", childs[0], F_OWNER_PID, child, SIGRTMIN + 1);
	check("group's", group[0], F_OWNER_PGRP, getpgrp(), 0);
	check("thread's", thread[1], F_OWNER_TID, getpid(), SIGURG);
	check("other uids'", other[0], F_OWNER_PID, getpid(), 0);
	check("nobody's", own[1], F_OWNER_TID, 0, 0);
	CHECK(fcntl(other[0], F_GETOWNER_UIDS, uids) == 0 && uids[0] == 12 && uids[1] == 34, "uids %u, %u", uids[0],
	      uids[1]);
	CHECK(fcntl(own[0], F_GETOWNER_UIDS, uids) == 0 && uids[0] == 0 && uids[1] == 0, "own uids %u, %u", uids[0],
	      uids[1]);
	CHECK(sigpending(&childs_signals) == 0 && !sigismember(&childs_signals, SIGRTMIN),
	      "signalled before there was anything");
	CHECK(write(own[1], "x", 1) == 1 && pending(&own_signals) == SIGRTMIN, "own does not signal");
	CHECK(write(childs[1], "x", 1) == 1 && wait(&status) == child && status == 0,
	      "the child's does not signal: status %#x", status);
	return victim_end();
}
