/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGTRAP has a handler and is blocked, or with an argument is ignored: a debugger's breakpoints and steps must not
 * change that, although the kernel resets such actions for them. CRIU's own dump loses the second (its int3).
 */
#include "victim.h"

int victim_failures;

static void handle(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	struct sigaction want = { .sa_handler = argc == 1 ? handle : SIG_IGN }, now;
	sigset_t trap, blocked;

	(void)argv;
	victim_begin();
	sigemptyset(&trap);
	sigaddset(&trap, SIGTRAP);
	MUST(sigaction(SIGTRAP, &want, NULL) == 0);
	MUST(argc > 1 || sigprocmask(SIG_BLOCK, &trap, NULL) == 0);

	victim_wait();
	CHECK(sigaction(SIGTRAP, NULL, &now) == 0 && now.sa_handler == want.sa_handler,
	      "the action of SIGTRAP is lost");
	CHECK(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTRAP) == (argc == 1),
	      "the mask of signals has changed");
	return victim_end();
}
