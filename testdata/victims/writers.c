/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writers FILE DIR: a parent and tasks that write at once, and differ in where and as whom. Each opens FILE anew as its
 * standard error, without O_APPEND, so that each has a position of its own. Some have a umask that takes all rights
 * away, some another user, some another directory, some DIR as their root.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TASKS 12

int victim_failures;

static void become(int i, const char *file, const char *dir)
{
	int fd = open(file, O_WRONLY);

	MUST(fd >= 0 && dup2(fd, 2) == 2 && close(fd) == 0);
	umask(i & 1 ? 0777 : 0);
	if (i % 4 == 1)
		MUST(chdir("/") == 0);
	if (i % 4 == 2)
		MUST(chroot(dir) == 0 && chdir("/") == 0);
	if (i % 4 == 3)
		MUST(setgid(1000 + i) == 0 && setuid(1000 + i) == 0);
}

static void process(int i, char **argv, int ready, int go)
{
	char byte;

	become(i, argv[1], argv[2]);
	MUST(write(ready, "", 1) == 1);
	while (read(go, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	int ready[2], go[2], status;
	char byte;

	MUST(argc == 3 && pipe(ready) == 0 && pipe(go) == 0);
	victim_begin();
	for (int i = 0; i < TASKS; i++) {
		pid_t pid = fork();

		MUST(pid >= 0);
		if (pid == 0) {
			close(go[1]);
			process(i, argv, ready[1], go[0]);
		}
	}
	for (int i = 0; i < TASKS; i++)
		MUST(read(ready[0], &byte, 1) == 1);
	victim_wait();
	close(go[1]);
	for (int i = 0; i < TASKS; i++)
		CHECK(wait(&status) > 0 && status == 0, "a task ended with wait status %#x", status);
	return victim_end();
}
