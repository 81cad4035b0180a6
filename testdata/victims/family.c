/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ten tasks: a parent, three children, two children of each. Memory is shared copy-on-write, and each changes a part of
 * its own. SIGUSR1 for the parent is passed on; each checks what it had, and the parent collects them.
 */
#include "victim.h"
#include <sys/wait.h>

#define CHILDREN 3
#define GRANDCHILDREN 2
#define SHARE (64 << 10)

int victim_failures;

static char memory[10 * SHARE];

static void check_memory(int me)
{
	for (int i = 0; i < 10; i++)
		check_fill("memory", memory + i * SHARE, SHARE, i == me ? 1000 + me : i);
}

static void live(int me, int children, const pid_t *child)
{
	sigset_t go;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	if (me == 0)
		printf("READY %d\n", getpid());
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
	check_memory(me);
	for (int i = 0; i < children; i++) {
		int status = -1;

		CHECK(kill(child[i], SIGUSR1) == 0, "child %d: %s", child[i], strerror(errno));
		CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0, "child %d: status %#x", child[i],
		      status);
	}
	fflush(stdout);
	if (me != 0)
		_exit(victim_failures != 0);
}

static void become(int me, int children)
{
	pid_t child[CHILDREN];

	fill(memory + me * SHARE, SHARE, 1000 + me);
	for (int i = 0; i < children; i++) {
		child[i] = fork();
		MUST(child[i] >= 0);
		if (child[i] == 0) {
			fill(memory + me * SHARE, SHARE, me);
			become(me == 0 ? i + 1 : 4 + (me - 1) * GRANDCHILDREN + i, me == 0 ? GRANDCHILDREN : 0);
		}
	}
	if (me == 0)
		usleep(100000); /* the others get ready */
	live(me, children, child);
}

int main(void)
{
	victim_begin();
	for (int i = 0; i < 10; i++)
		fill(memory + i * SHARE, SHARE, i);
	become(0, CHILDREN);
	return victim_end();
}
