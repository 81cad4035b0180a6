/* SPDX-License-Identifier: Apache-2.0 */
/* Prints, after it was signalled, what may be patched: variables, and what a function returns. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile unsigned int limit = 100;
char endpoint[16] = "db-1";
static const volatile unsigned char table[4] = { 1, 2, 3, 4 };

__attribute__((noinline, noclone)) static int answer(void)
{
	__asm__ volatile(""); /* not pure: it is called each time */
	return 3;
}

int main(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("READY %d\n", getpid());
	fflush(stdout);
	sigwait(&set, &signal);
	printf("DREW limit %u\n", limit);
	printf("DREW endpoint %s %zu\n", endpoint, strlen(endpoint));
	printf("DREW table %d %d %d %d\n", table[0], table[1], table[2], table[3]);
	printf("DREW answer %d\n", answer());
	puts("PASS");
	return 0;
}
