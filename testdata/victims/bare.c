/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child without a single descriptor, of which CRIU writes no image of descriptors, and its own child, which shares
 * that empty table (CLONE_FILES).
 */
#include "victim.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HIGHEST 1024

int victim_failures;

static void await(int signal)
{
	int sig;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	while (sigwait(&set, &sig) != 0)
		;
}

/* Without descriptors there is nowhere to complain to but the status: 0 if none is open. */
static int look_for_descriptors(void)
{
	for (int fd = 0; fd < HIGHEST; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 1 + fd % 100;
	return 0;
}

static int bare_child(pid_t parent)
{
	int status, open;
	pid_t sharer;

	MUST(syscall(SYS_close_range, 0, ~0u, 0) == 0);
	sharer = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (sharer == 0) {
		await(SIGUSR1);
		return look_for_descriptors();
	}
	kill(parent, SIGUSR2);
	await(SIGUSR1);
	open = look_for_descriptors();
	if (kill(sharer, SIGUSR1) != 0 || waitpid(sharer, &status, 0) != sharer || status != 0)
		return 120;
	return open;
}

int main(void)
{
	pid_t parent = getpid(), child;
	sigset_t ready;
	int status;

	victim_begin();
	sigemptyset(&ready);
	sigaddset(&ready, SIGUSR2);
	MUST(sigprocmask(SIG_BLOCK, &ready, NULL) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0)
		return bare_child(parent);
	await(SIGUSR2);

	victim_wait();
	CHECK(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child, "child: %s", strerror(errno));
	CHECK(status == 0, "child: status %#x, a descriptor is open", status);
	return victim_end();
}
