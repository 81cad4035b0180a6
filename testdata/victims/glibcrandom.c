/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibcrandom [plain]: draws from libc's getrandom(3) in two threads; glibc 2.41 and newer keep states of the vDSO's
 * for that. Prints what it draws afterwards, which is to be different in each clone, and sees that a forked child draws
 * something else.
 */
#include "victim.h"

#include <pthread.h>
#include <sys/random.h>
#include <sys/wait.h>

int victim_failures;

static unsigned long rounds;
static int stop;

static uint64_t draw(void)
{
	uint64_t value = 0;

	MUST(getrandom(&value, sizeof(value), 0) == sizeof(value));
	return value;
}

static void *drawing(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		draw();
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void await_rounds(unsigned long n)
{
	unsigned long before = __atomic_load_n(&rounds, __ATOMIC_RELAXED);

	while (__atomic_load_n(&rounds, __ATOMIC_RELAXED) < before + n)
		;
}

static void check_fork(void)
{
	uint64_t child = 0, parent;
	int pipes[2], status;
	pid_t pid;

	MUST(pipe(pipes) == 0 && (pid = fork()) >= 0);
	if (pid == 0) {
		child = draw();
		_exit(write(pipes[1], &child, sizeof(child)) != sizeof(child));
	}
	parent = draw();
	MUST(waitpid(pid, &status, 0) == pid && status == 0 && read(pipes[0], &child, sizeof(child)) == sizeof(child));
	CHECK(parent != child, "a child draws its parent's %016lx", parent);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	victim_begin();
	MUST(pthread_create(&thread, NULL, drawing, NULL) == 0);
	await_rounds(1);
	draw();
	victim_wait();
	printf("DREW %016lx\n", draw());
	if (argc < 2 || strcmp(argv[1], "plain") != 0)
		check_fork();
	await_rounds(1000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return victim_end();
}
