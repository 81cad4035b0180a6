/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of tasks that a seed decides: forest SEED. Tasks fork, lead and leave sessions and process groups, become
 * subreapers, and end, leaving zombies and orphans. Each looks afterwards whether it is where it was.
 */
#include "victim.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int victim_failures;

#define MAX_TASKS 60
#define PAGES 64
#define PAGE 4096

static struct shared {
	int expected, settled, forks, phase, looked, failures;
} *shared;

static char *private;
static unsigned long seed;

static int chance(int percent)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (int)(seed >> 33) % 100 < percent;
}

struct place {
	pid_t pid, ppid, pgid, sid;
};

static struct place here(void)
{
	return (struct place){ getpid(), getppid(), getpgrp(), getsid(0) };
}

/* What a task may do to its own place; what the kernel does not allow does not matter. */
static void move(pid_t sibling)
{
	if (chance(20))
		setsid();
	if (chance(20))
		setpgid(0, 0);
	if (chance(20) && sibling)
		setpgid(0, sibling);
	if (chance(10))
		prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void await(const int *word, int value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
		usleep(2000);
}

static void add(int *word, int n)
{
	__atomic_fetch_add(word, n, __ATOMIC_SEQ_CST);
}

static void check_memory(char mine, const char *who)
{
	for (int i = 0; i < PAGES; i++)
		CHECK(private[i * PAGE] == (i % 5 == mine % 5 ? mine : 'p'), "%s %d: page %d is %d", who, getpid(), i,
		      private[i * PAGE]);
}

/* Waits for the end, then looks. */
static void stay(char mine, const pid_t *zombies, int count)
{
	struct place was, is;
	siginfo_t info;

	add(&shared->settled, 1);
	await(&shared->phase, 1);
	was = here();
	add(&shared->looked, 1);
	await(&shared->phase, 2);
	is = here();
	CHECK(memcmp(&was, &is, sizeof(is)) == 0, "task %d: ppid %d pgid %d sid %d, was %d %d %d %d", is.pid, is.ppid,
	      is.pgid, is.sid, was.pid, was.ppid, was.pgid, was.sid);
	for (int i = 0; i < count; i++)
		CHECK(waitid(P_PID, zombies[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == zombies[i] &&
			      info.si_status == 5,
		      "task %d: zombie %d", is.pid, zombies[i]);
	check_memory(mine, "task");
	add(&shared->failures, victim_failures);
	fflush(stdout);
	add(&shared->looked, 1);
	await(&shared->phase, 3); /* nobody's parent ends before all have looked */
}

static void grow(int depth, pid_t sibling);

static void children(int depth, pid_t *zombies, int *count)
{
	pid_t last = 0;

	for (int kids = chance(60) + chance(60) + chance(40); kids > 0; kids--) {
		int ends = chance(30), reaped = chance(50), number;
		siginfo_t info;
		pid_t pid;

		number = __atomic_add_fetch(&shared->forks, 1, __ATOMIC_SEQ_CST);
		if (depth > 4 || number >= MAX_TASKS)
			return;
		add(&shared->expected, !ends);
		MUST((pid = fork()) >= 0);
		if (pid == 0) {
			seed ^= number * 7919;
			if (ends) {
				pid_t ignored[4];
				int none = 0;

				move(last);
				children(depth + 1, ignored, &none);
				_exit(5);
			}
			grow(depth + 1, last);
		}
		if (!ends)
			last = pid;
		else if (reaped)
			waitpid(pid, NULL, 0);
		else {
			MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
			zombies[(*count)++] = pid;
		}
		if (chance(15))
			move(last);
	}
}

static void grow(int depth, pid_t sibling)
{
	char mine = getpid() % 100 + 1;
	pid_t zombies[4];
	int count = 0;

	for (int i = mine % 5; i < PAGES; i += 5)
	private[i * PAGE] = mine;
	move(sibling);
	children(depth, zombies, &count);
	for (int i = 0; i < PAGES; i++) /* what the parent has changed is not this task's */
	private[i * PAGE] = i % 5 == mine % 5 ? mine : 'p';
	stay(mine, zombies, count);
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t zombies[4];
	int count = 0;

	victim_begin();
	seed = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
	for (int i = 0; i < 8; i++)
		chance(1);
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	MUST((shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	MUST((private = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	memset(private, 'p', PAGES * PAGE);
	for (int i = 0; i < 3 && shared->forks < 12; i++) {
		count = 0;
		children(0, zombies, &count);
	}
	while (__atomic_load_n(&shared->settled, __ATOMIC_ACQUIRE) <
	       __atomic_load_n(&shared->expected, __ATOMIC_ACQUIRE))
		usleep(2000); /* who is expected may expect more */
	__atomic_store_n(&shared->phase, 1, __ATOMIC_RELEASE);
	await(&shared->looked, shared->expected);

	victim_wait();
	CHECK(getsid(0) == getpid() && getpgrp() == getpid(), "root: sid %d, pgid %d", getsid(0), getpgrp());
	check_memory('p', "root");
	__atomic_store_n(&shared->phase, 2, __ATOMIC_RELEASE);
	await(&shared->looked, 2 * shared->expected);
	__atomic_store_n(&shared->phase, 3, __ATOMIC_RELEASE);
	while (wait(NULL) > 0)
		;
	victim_failures += shared->failures;
	return victim_end();
}
