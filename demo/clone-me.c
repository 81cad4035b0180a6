/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone-me: the program of `make demo`. Prints, five times a second, the id it finds in its environment, a number from
 * random(), and how often it was restored; three things that two clones of one checkpoint should not share. With an
 * argument N it prints only the Nth random number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

unsigned int generation; /* exported by -rdynamic, so that a plugin finds it by name */

static long nth(int n)
{
	while (--n > 0)
		random();
	return random();
}

int main(int argc, char **argv)
{
	struct timespec pause = { 0, 200 * 1000 * 1000 };

	srandom(42);
	if (argc > 1)
		return printf("%ld\n", nth(atoi(argv[1]))) < 0;
	for (;;) {
		printf("pid %d, id %s, random %ld, generation %u\n", getpid(), getenv("INSTANCE_ID"), random(),
		       generation);
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
}
