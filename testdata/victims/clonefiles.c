/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks that share one descriptor table (CLONE_FILES of clone(2)): the root, a child and a grandchild; a child of the
 * child has a table of its own, and shares descriptions only. What one opens after the restore, the others have; what
 * one closes, they have lost. Each has a working directory of its own. The child has taken a lock, which is all of
 * theirs.
 */
#include "victim.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

int victim_failures;

static int ask[4][2], answer[2], file, copy, event, set, timer, doomed;
static char directory[4][64];
static struct shared {
	int fresh, failures;
	pid_t child;
} *shared;

static pid_t fork_sharing(void)
{
	pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	MUST(pid >= 0);
	return pid;
}

static void go_to(int who)
{
	snprintf(directory[who], sizeof(directory[who]), "dir-%d", who);
	MUST((mkdir(directory[who], 0755) == 0 || errno == EEXIST) && chdir(directory[who]) == 0);
}

static void check_place(int who)
{
	char cwd[4096], *end;

	CHECK(getcwd(cwd, sizeof(cwd)) && (end = strrchr(cwd, '/')) && strcmp(end + 1, directory[who]) == 0,
	      "task %d: cwd %s", who, cwd);
	CHECK(umask(0) == (mode_t)(who + 1), "task %d: umask", who);
}

/* The table, as far as it is shared, is the root's. */
static void check_table(int who)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int mine = who == 3; /* with a table of its own */

	CHECK(fcntl(file, F_GETFD) == 0 && fcntl(copy, F_GETFD) == FD_CLOEXEC, "task %d: flags", who);
	CHECK((fcntl(shared->fresh, F_GETFD) < 0) == mine, "task %d: the new descriptor", who);
	CHECK((fcntl(doomed, F_GETFD) < 0) == !mine, "task %d: the closed descriptor", who);
	CHECK(fcntl(file, F_GETLK, &lock) == 0, "task %d: F_GETLK: %s", who, strerror(errno));
	CHECK(lock.l_type == (mine ? F_WRLCK : F_UNLCK), "task %d: lock of type %d", who, lock.l_type);
	CHECK(write(file, "x", 1) == 1, "task %d: write", who);
}

static void serve(int who)
{
	char byte;

	MUST(write(answer[1], "r", 1) == 1);
	CHECK(read(ask[who][0], &byte, 1) == 1 && byte == 'q', "task %d: question", who);
	check_place(who);
	check_table(who);
	__atomic_fetch_add(&shared->failures, victim_failures, __ATOMIC_SEQ_CST);
	fflush(stdout);
	write(answer[1], "a", 1);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static void child(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	go_to(1);
	umask(2);
	MUST(fcntl(file, F_SETLK, &lock) == 0);
	if (fork_sharing() == 0) {
		go_to(2);
		umask(3);
		serve(2);
	}
	if (fork() == 0) {
		go_to(3);
		umask(4);
		serve(3);
	}
	serve(1);
}

static void await(char want, int count)
{
	for (int i = 0; i < count; i++) {
		char byte = 0;

		CHECK(read(answer[0], &byte, 1) == 1 && byte == want, "answer %c", byte);
	}
}

static void check_own(void)
{
	struct epoll_event got = { 0 };
	struct itimerspec left;

	CHECK(epoll_wait(set, &got, 1, 0) == 0, "the epoll set is ready too early");
	CHECK(eventfd_write(event, 5) == 0 && epoll_wait(set, &got, 1, 0) == 1 && got.data.u32 == 77, "epoll");
	CHECK(timerfd_gettime(timer, &left) == 0 && left.it_value.tv_sec > 1000, "timerfd");
}

int main(void)
{
	struct epoll_event watch = { .events = EPOLLIN, .data.u32 = 77 };
	struct itimerspec hours = { .it_value.tv_sec = 7200 };

	victim_begin();
	MUST((shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) !=
	     MAP_FAILED);
	for (int i = 1; i < 4; i++)
		MUST(pipe(ask[i]) == 0);
	MUST(pipe(answer) == 0);
	MUST((file = open("shared.txt", O_RDWR | O_CREAT | O_TRUNC, 0644)) >= 0);
	MUST((copy = fcntl(file, F_DUPFD_CLOEXEC, 100)) == 100);
	MUST((event = eventfd(0, 0)) >= 0 && (set = epoll_create1(0)) >= 0 &&
	     (doomed = open("/dev/null", O_RDONLY)) >= 0);
	MUST((timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0 && timerfd_settime(timer, 0, &hours, NULL) == 0);
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, event, &watch) == 0);
	if ((shared->child = fork_sharing()) == 0) {
		shared->child = getpid();
		child();
	}
	go_to(0);
	umask(1);
	await('r', 3);

	victim_wait();
	check_place(0);
	check_own();
	MUST((shared->fresh = open("/dev/null", O_WRONLY)) >= 0);
	MUST(close(doomed) == 0);
	for (int i = 1; i < 4; i++) {
		CHECK(write(ask[i][1], "q", 1) == 1, "ask");
		await('a', 1);
	}
	check_table(0);
	CHECK(lseek(file, 0, SEEK_CUR) == 4, "position %ld, want 4", (long)lseek(file, 0, SEEK_CUR));
	CHECK(wait(NULL) == shared->child, "wait: %s", strerror(errno));
	victim_failures += shared->failures;
	return victim_end();
}
