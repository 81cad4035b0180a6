/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopped children, each by a signal of its own: its parent must learn of that signal and no other, and the child must
 * go on when it is told to. The last one is in the group of its parent, which is an orphan: there only SIGSTOP stops
 * anybody.
 */
#include "victim.h"

#include <sys/wait.h>

int victim_failures;

enum { TERMINAL, PLAIN, NO_GROUP, CHILDREN };

static const int signals[CHILDREN] = { SIGTSTP, SIGSTOP, SIGSTOP };
static pid_t children[CHILDREN];

static pid_t start(int sig, int group)
{
	siginfo_t info;
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		if (group)
			setpgid(0, 0);
		kill(getpid(), sig);
		_exit(40 + sig);
	}
	MUST(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT) == 0 && info.si_status == sig);
	return pid;
}

int main(void)
{
	victim_begin();
	for (int i = 0; i < CHILDREN; i++)
		children[i] = start(signals[i], i != NO_GROUP);
	victim_wait();
	for (int i = 0; i < CHILDREN; i++) {
		siginfo_t info = { 0 };
		int status = 0;

		CHECK(waitid(P_PID, children[i], &info, WSTOPPED) == 0 && info.si_status == signals[i],
		      "child %d was stopped by signal %d, not %d", i, info.si_status, signals[i]);
		kill(children[i], SIGCONT);
		CHECK(waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status) &&
			      WEXITSTATUS(status) == 40 + signals[i],
		      "child %d: wait status %#x", i, status);
	}
	return victim_end();
}
