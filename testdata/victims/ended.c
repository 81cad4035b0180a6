/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes whose working directory was in /proc of a process that has ended: the parent's and a child's of one, the
 * other child's of another one, and below such a directory. The parent has files of the first one open.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int victim_failures;

static char first[64], second[64];
static int status_file, comm_file, folder;

static pid_t start(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void end(pid_t pid)
{
	MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static int must_open(const char *dir, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	MUST((fd = open(path, flags)) >= 0);
	return fd;
}

/* What is below the directory of a process is not shown as deleted. */
static void check_name(const char *link, const char *name)
{
	char path[64], is[128] = "", deleted[128];

	snprintf(path, sizeof(path), "/proc/self/%s", link);
	snprintf(deleted, sizeof(deleted), "%s (deleted)", name);
	CHECK(readlink(path, is, sizeof(is) - 1) > 0 && (strcmp(is, name) == 0 || strcmp(is, deleted) == 0),
	      "%s is %s, was %s", link, is, name);
}

static void check_cwd(const char *who, const char *want)
{
	struct stat st;

	check_name("cwd", want);
	CHECK(stat("status", &st) < 0 && errno == ESRCH, "%s: what is in its cwd: %s", who, strerror(errno));
	CHECK(stat("/etc", &st) == 0, "%s: its root: %s", who, strerror(errno));
}

static void check_file(const char *name, int fd)
{
	char byte, link[32], want[128];

	snprintf(link, sizeof(link), "fd/%d", fd);
	snprintf(want, sizeof(want), "%s/%s", first, name);
	check_name(link, want);
	CHECK(read(fd, &byte, 1) < 0 && (errno == ESRCH || errno == EISDIR), "%s: %s", name, strerror(errno));
}

/* A child is asked to look by SIGUSR1, which is blocked until then. */
static pid_t child(const char *who, const char *cwd, int ready)
{
	sigset_t go;
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid > 0)
		return pid;
	MUST(chdir(cwd) == 0 && write(ready, "", 1) == 1);
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
	check_cwd(who, cwd);
	fflush(stdout);
	_exit(victim_failures != 0);
}

int main(void)
{
	pid_t one, two, children[3];
	int ready[2], status;
	char byte, below[80];

	victim_begin();
	one = start();
	two = start();
	snprintf(first, sizeof(first), "/proc/%d", one);
	snprintf(second, sizeof(second), "/proc/%d", two);
	snprintf(below, sizeof(below), "%s/task", second);
	MUST(pipe(ready) == 0);
	children[0] = child("the child", first, ready[1]);
	children[1] = child("the other child", second, ready[1]);
	children[2] = child("the child below", below, ready[1]);
	for (int i = 0; i < 3; i++)
		MUST(read(ready[0], &byte, 1) == 1);
	MUST(chdir(first) == 0);
	status_file = must_open(first, "status", O_RDONLY);
	comm_file = must_open(first, "comm", O_RDWR);
	folder = must_open(first, "task", O_RDONLY | O_DIRECTORY);
	end(one);
	end(two);

	victim_wait();
	check_cwd("the parent", first);
	check_file("status", status_file);
	check_file("comm", comm_file);
	check_file("task", folder);
	for (int i = 0; i < 3; i++)
		CHECK(kill(children[i], SIGUSR1) == 0 && waitpid(children[i], &status, 0) == children[i] && status == 0,
		      "child %d: status %#x", i, status);
	return victim_end();
}
