/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone-me: the program of `make demo`. Prints, five times a second, the id it finds in its environment, a number from
 * random(), and how often it was restored; three things that two clones of one checkpoint should not share.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

unsigned int generation; /* exported by -rdynamic, so that a plugin finds it by name */

int main(void)
{
	struct timespec pause = { 0, 200 * 1000 * 1000 };

	srandom(42);
	for (;;) {
		printf("pid %d, id %s, random %ld, generation %u\n", getpid(), getenv("INSTANCE_ID"), random(), generation);
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
}
