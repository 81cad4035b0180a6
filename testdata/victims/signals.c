/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells which signals it gets, one line each, until SIGUSR1 comes. "signals all" wants to have had all of them by then.
 */
#include "victim.h"

#include <stdbool.h>

int victim_failures;

static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2, SIGTSTP, SIGCONT, SIGUSR1 };

#define COUNT (sizeof(signals) / sizeof(signals[0]))

int main(int argc, char **argv)
{
	bool all = argc > 1 && strcmp(argv[1], "all") == 0, got[COUNT] = { false };
	sigset_t set;
	int sig;

	victim_begin();
	sigemptyset(&set);
	for (size_t i = 0; i < COUNT; i++)
		sigaddset(&set, signals[i]);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	printf("READY %d\n", getpid());
	do {
		sig = sigwaitinfo(&set, NULL);
		if (sig < 0) /* the dump */
			continue;
		if (sig != SIGUSR1)
			printf("GOT %d\n", sig);
		for (size_t i = 0; i < COUNT; i++)
			got[i] |= signals[i] == sig;
	} while (sig != SIGUSR1);
	for (size_t i = 0; i < COUNT; i++)
		CHECK(got[i] || !all, "signal %d has not come", signals[i]);
	return victim_end();
}
