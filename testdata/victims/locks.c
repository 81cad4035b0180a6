/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks: two ranges of fcntl(2), one of the child's, an open file description lock, flock(2) exclusive and shared, and
 * leases for reading and for writing.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

int victim_failures;

static int ranges, described, exclusive, shared, readers, writer, child_pipe[2];
static pid_t child;

static int lock(int fd, int cmd, int type, off_t start, off_t len, pid_t *holder)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int ret = fcntl(fd, cmd, &fl);

	if (holder)
		*holder = fl.l_type == F_UNLCK ? 0 : fl.l_pid;
	return ret;
}

static int created(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	MUST(fd >= 0);
	return fd;
}

static void wait_with_lock(void)
{
	char byte;

	MUST((ranges = open("ranges", O_RDWR)) >= 0); /* CRIU dumps the locks of one task for each description */
	MUST(lock(ranges, F_SETLK, F_WRLCK, 100, 10, NULL) == 0);
	MUST(write(child_pipe[1], "l", 1) == 1);
	sleep(1000);
	_exit(read(child_pipe[0], &byte, 1) == 0);
}

/* Somebody else looks: a process has no conflict with its own locks. */
static int looks(void)
{
	static const struct {
		off_t at;
		int type, of_child, free;
	} want[] = {
		{9, F_WRLCK, 0, 1}, {10, F_WRLCK, 0, 0}, {19, F_WRLCK, 0, 0}, {20, F_WRLCK, 0, 1},
		{1l << 40, F_WRLCK, 0, 0}, {1l << 40, F_RDLCK, 0, 1}, {105, F_WRLCK, 1, 0}, {110, F_WRLCK, 0, 1},
	};
	pid_t holder, parent = getppid();
	int fd;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		lock(ranges, F_GETLK, want[i].type, want[i].at, 1, &holder);
		CHECK(holder == (want[i].free ? 0 : want[i].of_child ? child : parent), "byte %ld: locked by %d", (long)want[i].at, holder);
	}
	fd = open("described", O_RDWR);
	CHECK(lock(fd, F_OFD_SETLK, F_RDLCK, 5, 1, NULL) < 0 && errno == EAGAIN, "description lock is gone");
	CHECK(lock(fd, F_OFD_SETLK, F_WRLCK, 6, 1, NULL) == 0, "description lock is too large");
	CHECK(flock(open("exclusive", O_RDWR), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK, "exclusive lock is gone");
	CHECK(flock(open("shared", O_RDWR), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "shared lock is gone");
	CHECK(flock(open("shared", O_RDWR), LOCK_SH | LOCK_NB) == 0, "shared lock is exclusive");
	fflush(stdout);
	return victim_failures;
}

int main(void)
{
	char byte;
	int status;
	pid_t looker;

	victim_begin();
	ranges = created("ranges");
	described = created("described");
	exclusive = created("exclusive");
	shared = created("shared");
	MUST(pipe(child_pipe) == 0 && (child = fork()) >= 0);
	if (child == 0)
		wait_with_lock();
	close(created("readers"));
	MUST((readers = open("readers", O_RDONLY)) >= 0 && fcntl(readers, F_SETLEASE, F_RDLCK) == 0);
	writer = created("writer");
	MUST(fcntl(writer, F_SETLEASE, F_WRLCK) == 0);
	MUST(read(child_pipe[0], &byte, 1) == 1);
	MUST(lock(ranges, F_SETLK, F_WRLCK, 10, 10, NULL) == 0 && lock(ranges, F_SETLK, F_RDLCK, 1000, 0, NULL) == 0);
	MUST(lock(described, F_OFD_SETLK, F_WRLCK, 5, 1, NULL) == 0);
	MUST(flock(exclusive, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0);

	victim_wait();
	CHECK(fcntl(readers, F_GETLEASE) == F_RDLCK, "read lease: %d", fcntl(readers, F_GETLEASE));
	CHECK(fcntl(writer, F_GETLEASE) == F_WRLCK, "write lease: %d", fcntl(writer, F_GETLEASE));
	MUST((looker = fork()) >= 0);
	if (looker == 0)
		_exit(looks());
	CHECK(waitpid(looker, &status, 0) == looker && status == 0, "the looker's wait status is %#x", status);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child, "the child is gone");
	return victim_end();
}
