/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of tasks: tree [WIDTH]. The root leads the session and has WIDTH workers (4), a group of two, a child with a
 * session of its own and a grandchild in it, a zombie that exited with 7 and one that was killed by SIGTERM.
 *
 * All share a pipe, a regular file with one position, an eventfd and anonymous memory; each has private memory from
 * before the fork, of which it has changed every eighth page. After SIGUSR1 the root asks every task to check itself.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PRIVATE_SIZE (8 << 20)
#define SHARED_SIZE (256 << 10)
#define PAGE 4096
#define MAX_TASKS 256

int victim_failures;

struct shared {
	int tasks;
	struct task {
		pid_t pid, ppid, pgid, sid;
	} task[MAX_TASKS];
	int failures;
	char filling[SHARED_SIZE];
};

static struct shared *shared;
static char *private;
static int ask[2], answer[2], file, counter;

static void remember_self(int slot)
{
	shared->task[slot] = (struct task){ getpid(), getppid(), getpgrp(), getsid(0) };
}

static void change_private(int slot)
{
	for (size_t at = 0; at < PRIVATE_SIZE; at += 8 * PAGE)
		memset(private + at, slot, PAGE);
}

static void check_self(int slot)
{
	struct task now = { getpid(), getppid(), getpgrp(), getsid(0) };

	CHECK(memcmp(&now, &shared->task[slot], sizeof(now)) == 0,
	      "task %d: pid %d ppid %d pgid %d sid %d, was %d %d %d %d", slot, now.pid, now.ppid, now.pgid, now.sid,
	      shared->task[slot].pid, shared->task[slot].ppid, shared->task[slot].pgid, shared->task[slot].sid);
	for (size_t at = 0; at < PRIVATE_SIZE; at += PAGE) {
		char want = at % (8 * PAGE) == 0 ? slot : 'p';

		if (private[at] != want || private[at + PAGE - 1] != want) {
			differs("task %d: private page %zu", slot, at / PAGE);
			break;
		}
	}
	check_fill("shared memory", shared->filling, SHARED_SIZE, 9);
}

/* A task waits for one byte in the pipe, checks itself, adds to the shared file and answers. */
static void serve(int slot)
{
	char byte;

	remember_self(slot);
	change_private(slot);
	MUST(write(answer[1], "r", 1) == 1);
	CHECK(read(ask[0], &byte, 1) == 1 && byte == 'q', "task %d: question", slot);
	check_self(slot);
	CHECK(write(file, "x", 1) == 1, "task %d: file", slot);
	CHECK(eventfd_write(counter, 1) == 0, "task %d: eventfd", slot);
	__atomic_fetch_add(&shared->failures, victim_failures, __ATOMIC_SEQ_CST);
	fflush(stdout);
	write(answer[1], "a", 1);
}

static pid_t spawn(int slot, void (*prepare)(void))
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		if (prepare)
			prepare();
		serve(slot);
		while (wait(NULL) > 0) /* the grandchild, which must not become an orphan before it has looked */
			;
		_exit(0);
	}
	return pid;
}

static int slots;

static void own_session(void)
{
	MUST(setsid() == getpid());
	spawn(slots + 1, NULL);
}

static pid_t leader;

static void join_group(void)
{
	MUST(setpgid(0, leader) == 0);
}

static pid_t zombie(int sig)
{
	siginfo_t info;
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		if (sig)
			kill(getpid(), sig);
		_exit(7);
	}
	MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
	return pid;
}

static void check_zombie(pid_t pid, int exited, int value)
{
	int status = 0;

	CHECK(waitpid(pid, &status, 0) == pid, "zombie %d is not a child: %s", pid, strerror(errno));
	CHECK(exited ? WIFEXITED(status) && WEXITSTATUS(status) == value :
		       WIFSIGNALED(status) && WTERMSIG(status) == value,
	      "zombie %d: wait status %#x", pid, status);
}

static void answers(char want)
{
	for (int i = 0; i < slots; i++) {
		char byte = 0;

		CHECK(read(answer[0], &byte, 1) == 1 && byte == want, "answer %c", byte);
	}
}

int main(int argc, char **argv)
{
	int width = argc > 1 ? atoi(argv[1]) : 4;
	pid_t exited, killed;
	eventfd_t count = 0;

	victim_begin();
	MUST((shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	MUST((private = mmap(NULL, PRIVATE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	fill(shared->filling, SHARED_SIZE, 9);
	memset(private, 'p', PRIVATE_SIZE);
	MUST(pipe(ask) == 0 && pipe(answer) == 0);
	MUST((file = open("tree.txt", O_RDWR | O_CREAT | O_TRUNC, 0644)) >= 0);
	MUST((counter = eventfd(0, 0)) >= 0);

	while (slots < width)
		spawn(++slots, NULL);
	leader = spawn(++slots, NULL);
	MUST(setpgid(leader, leader) == 0);
	spawn(++slots, join_group);
	slots++;
	spawn(slots, own_session);
	slots++;
	exited = zombie(0);
	killed = zombie(SIGTERM);
	remember_self(0);
	change_private(0);
	answers('r');
	shared->task[width + 1].pgid = leader; /* it may have looked before it was made one */

	victim_wait();
	check_self(0);
	for (int i = 0; i < slots; i++)
		CHECK(write(ask[1], "q", 1) == 1, "ask");
	answers('a');
	CHECK(lseek(file, 0, SEEK_CUR) == slots, "shared position %ld, want %d", (long)lseek(file, 0, SEEK_CUR), slots);
	CHECK(eventfd_read(counter, &count) == 0 && count == (eventfd_t)slots, "eventfd %d, want %d", (int)count,
	      slots);
	check_zombie(exited, 1, 7);
	check_zombie(killed, 0, SIGTERM);
	for (int i = 0; i < slots - 1; i++) /* all but the grandchild */
		CHECK(wait(NULL) > 0, "wait: %s", strerror(errno));
	CHECK(wait(NULL) < 0 && errno == ECHILD, "a child too many");
	victim_failures += shared->failures;
	return victim_end();
}
