/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and process groups that a plain copy of the tree would not have: orphans that the root, a subreaper, has
 * adopted, of a session whose leader is gone and of one whose leader lives elsewhere in the tree; a child that was born
 * before its parent led a session; process groups whose leader is gone; a zombie in the group of a task that is not its
 * ancestor. "more": also an orphan whose session's leader is a zombie, and a zombie whose group's leader is gone; a
 * leader with an orphan whose child, a zombie, is the leader of another; an orphan that has left the group of its
 * session's leader, who is gone, with a child that has not. "fewer": no orphans, which CRIU 4.1 gives to init.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MAX_TASKS 16
#define SIZE (1 << 20)

int victim_failures;

static struct shared {
	struct task {
		pid_t pid, ppid, pgid, sid;
	} task[MAX_TASKS];
	int failures, orphans;
} *shared;

static int ask[2], answer[2], slots;
static char *private;
static pid_t root;

static struct task self(void)
{
	return (struct task){ getpid(), getppid(), getpgrp(), getsid(0) };
}

/* Says that it is there, waits for the question, and looks whether it is where it was. */
static void serve(int slot)
{
	struct task now;
	char byte;

	memset(private, slot, SIZE / 2);
	shared->task[slot] = self();
	MUST(write(answer[1], "r", 1) == 1);
	CHECK(read(ask[0], &byte, 1) == 1 && byte == 'q', "task %d: question", slot);
	now = self();
	CHECK(memcmp(&now, &shared->task[slot], sizeof(now)) == 0,
	      "task %d: pid %d ppid %d pgid %d sid %d, was %d %d %d %d", slot, now.pid, now.ppid, now.pgid, now.sid,
	      shared->task[slot].pid, shared->task[slot].ppid, shared->task[slot].pgid, shared->task[slot].sid);
	CHECK(private[0] == slot && private[SIZE / 2 - 1] == slot && private[SIZE / 2] == 'p' &&
		      private[SIZE - 1] == 'p',
	      "task %d: memory", slot);
	__atomic_fetch_add(&shared->failures, victim_failures, __ATOMIC_SEQ_CST);
	fflush(stdout);
	write(answer[1], "a", 1);
}

static void await(char want, int count)
{
	for (int i = 0; i < count; i++) {
		char byte = 0;

		CHECK(read(answer[0], &byte, 1) == 1 && byte == want, "answer %c", byte);
	}
}

static void collect(pid_t pid)
{
	MUST(waitpid(pid, NULL, 0) == pid);
}

/* A task that serves once it is the root's. */
static void orphan(int slot, int own_group)
{
	if (fork() != 0)
		return;
	while (getppid() != root)
		usleep(1000);
	if (own_group)
		MUST(setpgid(0, 0) == 0);
	serve(slot);
	_exit(0);
}

static pid_t session_of_orphans(int one, int two)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		MUST(setsid() == getpid());
		orphan(one, 0);
		if (two)
			orphan(two, 1);
		_exit(0);
	}
	return pid;
}

/* An orphan in a group of its own, whose child stays in the session leader's. */
static void orphan_with_child(int slot, int child)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		MUST(setsid() == getpid());
		if (fork() != 0)
			_exit(0);
		while (getppid() != root)
			usleep(1000);
		MUST((pid = fork()) >= 0);
		if (pid == 0) {
			serve(child);
			_exit(0);
		}
		MUST(setpgid(0, 0) == 0);
		serve(slot);
		collect(pid);
		_exit(0);
	}
	collect(pid);
}

static void leader_with_orphan(int leader, int slot, int of_zombie)
{
	pid_t between, dead = 0;

	if (fork() != 0)
		return;
	MUST(setsid() == getpid());
	if (of_zombie) {
		dead = session_of_orphans(of_zombie, 0);
		MUST(waitid(P_PID, dead, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	}
	MUST((between = fork()) >= 0);
	if (between == 0) {
		orphan(slot, 0);
		_exit(0);
	}
	collect(between);
	serve(leader);
	if (dead)
		collect(dead);
	_exit(0);
}

static void early_child(int parent, int child)
{
	pid_t pid;

	if (fork() != 0)
		return;
	MUST((pid = fork()) >= 0);
	if (pid == 0) {
		serve(child);
		_exit(0);
	}
	MUST(setsid() == getpid());
	serve(parent);
	collect(pid);
	_exit(0);
}

static pid_t group_leader(int slot)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		MUST(setpgid(0, 0) == 0);
		if (slot)
			serve(slot);
		else
			pause();
		_exit(0);
	}
	MUST(setpgid(pid, pid) == 0);
	return pid;
}

static void member(int slot, pid_t pgid)
{
	if (fork() != 0)
		return;
	MUST(setpgid(0, pgid) == 0);
	serve(slot);
	_exit(0);
}

static pid_t zombie(pid_t pgid)
{
	siginfo_t info;
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		MUST(setpgid(0, pgid) == 0);
		_exit(3);
	}
	MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
	return pid;
}

static void check_zombie(const char *what, pid_t pid, pid_t pgid, int status)
{
	int is = -1;

	CHECK(!pgid || getpgid(pid) == pgid, "%s: zombie in group %d, was %d", what, getpgid(pid), pgid);
	CHECK(waitpid(pid, &is, 0) == pid && WIFEXITED(is) && WEXITSTATUS(is) == status, "%s: zombie's status %#x",
	      what, is);
}

int main(int argc, char **argv)
{
	pid_t group, gone, dead, dead_leader = 0, dead_member = 0;

	int more = argc > 1 && strcmp(argv[1], "more") == 0, orphans = argc == 1 || more;

	victim_begin();
	root = getpid();
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	MUST((shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	MUST((private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
	memset(private, 'p', SIZE);
	MUST(pipe(ask) == 0 && pipe(answer) == 0);

	early_child(1, 2);
	gone = group_leader(0);
	member(3, gone);
	member(4, gone);
	group = group_leader(5);
	slots = 5;
	dead = zombie(group);
	if (orphans) {
		collect(session_of_orphans(6, 7));
		leader_with_orphan(8, 9, more ? 11 : 0);
		slots = 9;
	}
	if (more) {
		dead_leader = session_of_orphans(10, 0);
		orphan_with_child(12, 13);
		slots = 13;
		MUST(waitid(P_PID, dead_leader, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
		dead_member = zombie(gone);
	}
	await('r', slots);
	kill(gone, SIGKILL);
	collect(gone);

	victim_wait();
	for (int i = 0; i < slots; i++)
		CHECK(write(ask[1], "q", 1) == 1, "ask");
	await('a', slots);
	check_zombie("group", dead, group, 3);
	if (dead_leader) {
		check_zombie("session", dead_leader, dead_leader, 0);
		check_zombie("leaderless group", dead_member, gone, 3);
	}
	for (int i = 0; i < slots - 1 - more;
	     i++) /* all but the early child and the orphan's, which their parents collect */
		CHECK(wait(NULL) > 0, "wait: %s", strerror(errno));
	CHECK(wait(NULL) < 0 && errno == ECHILD, "a child too many");
	victim_failures += shared->failures;
	return victim_end();
}
