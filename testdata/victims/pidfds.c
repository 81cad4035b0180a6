/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidfd_open(2): of the process itself, its child, its grandchild, a zombie, and of a child that is gone, of which
 * there are two; non-blocking, duplicated, in an epoll set, and those that a child has inherited or has of its own of
 * an earlier sibling.
 */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int victim_failures;

static int self, of_child, copy, of_grandchild, of_zombie, gone, gone_too, set, talk[2], answer[2];
static pid_t child, second, grandchild;

static int pidfd(pid_t pid, unsigned int flags)
{
	int fd = syscall(SYS_pidfd_open, pid, flags);

	MUST(fd >= 0);
	return fd;
}

static int sends(int fd, int sig)
{
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

static pid_t names(int fd)
{
	char path[64], line[128];
	int pid = -2;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Pid: %d", &pid) != 1)
		;
	if (f)
		fclose(f);
	return pid;
}

static int ended(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

static void await_signal(void)
{
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	MUST(write(answer[1], "r", 1) == 1);
	while (sigwaitinfo(&term, NULL) != SIGTERM)
		;
}

/* The first child has a child. */
static void run_child(void)
{
	MUST((grandchild = fork()) >= 0);
	if (grandchild == 0) {
		await_signal();
		_exit(0);
	}
	MUST(write(talk[1], &grandchild, sizeof(grandchild)) == sizeof(grandchild));
	await_signal();
	waitpid(grandchild, NULL, 0);
	_exit(3);
}

/* The second has its parent's descriptors and one of its own of the first. */
static void run_second(void)
{
	int sibling = pidfd(child, 0), parent = pidfd(getppid(), 0);

	await_signal();
	CHECK(names(sibling) == child && names(parent) == getppid() && names(self) == getppid() &&
		      names(of_child) == child,
	      "the second child's: %d, %d, %d", names(sibling), names(parent), names(self));
	CHECK(names(gone) == -1 && sends(sibling, 0) == 0 && sends(parent, 0) == 0, "the second child's: gone is %d",
	      names(gone));
	/* the same description: flags are shared */
	CHECK(fcntl(self, F_GETFL) & O_NONBLOCK, "the second child's description is another");
	fcntl(self, F_SETFL, fcntl(self, F_GETFL) & ~O_NONBLOCK);
	fflush(stdout);
	_exit(victim_failures);
}

static void read_all(int fd, void *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		MUST(read(fd, (char *)to + i, 1) == 1);
}

int main(void)
{
	struct epoll_event event = { EPOLLIN, { .u64 = 77 } }, got = { 0 };
	char bytes[3];
	siginfo_t info = { 0 };
	int status;
	pid_t zombie, dead;

	victim_begin();
	MUST(pipe(talk) == 0 && pipe(answer) == 0);
	MUST((dead = fork()) >= 0);
	if (dead == 0)
		_exit(0);
	gone = pidfd(dead, 0);
	gone_too = pidfd(dead, O_NONBLOCK);
	MUST(waitpid(dead, NULL, 0) == dead);
	MUST((zombie = fork()) >= 0);
	if (zombie == 0)
		_exit(9);
	of_zombie = pidfd(zombie, 0);
	MUST(waitid(P_PID, zombie, &info, WEXITED | WNOWAIT) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0)
		run_child();
	read_all(talk[0], &grandchild, sizeof(grandchild));
	self = pidfd(getpid(), O_NONBLOCK);
	of_child = pidfd(child, 0);
	MUST((copy = fcntl(of_child, F_DUPFD, 40)) == 40);
	MUST((second = fork()) >= 0);
	if (second == 0)
		run_second();
	of_grandchild = pidfd(grandchild, 0);
	MUST((set = epoll_create1(0)) >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, of_child, &event) == 0);
	read_all(answer[0], bytes, 3);

	victim_wait();
	CHECK(names(self) == getpid() && names(of_child) == child && names(copy) == child &&
		      names(of_grandchild) == grandchild && names(of_zombie) == zombie,
	      "pidfds of %d, %d, %d, %d, %d", names(self), names(of_child), names(copy), names(of_grandchild),
	      names(of_zombie));
	CHECK(names(gone) == -1 && names(gone_too) == -1, "pidfds of the dead: %d, %d", names(gone), names(gone_too));
	CHECK(sends(gone, 0) < 0 && errno == ESRCH && ended(gone) && ended(gone_too), "somebody is there again");
	CHECK(fcntl(gone_too, F_GETFL) & O_NONBLOCK && !(fcntl(gone, F_GETFL) & O_NONBLOCK), "flags of the dead's");
	CHECK(ended(of_zombie) && waitid(P_PIDFD, of_zombie, &info, WEXITED) == 0 && info.si_pid == zombie &&
		      info.si_status == 9,
	      "the zombie");
	CHECK(!ended(of_child) && !ended(of_grandchild) && !ended(self), "somebody has ended");
	CHECK(sends(self, 0) == 0, "itself");
	kill(second, SIGTERM);
	CHECK(waitpid(second, &status, 0) == second && status == 0, "the second child's wait status is %#x", status);
	CHECK(!(fcntl(self, F_GETFL) & O_NONBLOCK), "the description is not shared any more");
	CHECK(epoll_wait(set, &got, 1, 0) == 0, "the epoll set has an event");
	CHECK(sends(of_grandchild, SIGTERM) == 0 && sends(copy, SIGTERM) == 0, "signals: %s", strerror(errno));
	CHECK(epoll_wait(set, &got, 1, 10000) == 1 && got.data.u64 == 77, "the epoll set has no event");
	CHECK(waitid(P_PIDFD, of_child, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == 3,
	      "the child's status %d", info.si_status);
	return victim_end();
}
