/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifos: one with data in it, between a parent and its child; one that only reads; one that only writes, to a reader of
 * its own; one that is open for both.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int victim_failures;

static int to_child, from_parent, both, reader, alone, start[2];
static pid_t child;

static int opened(const char *name, int flags)
{
	int fd = open(name, flags);

	MUST(fd >= 0);
	return fd;
}

/* The child reads until the end: it must have inherited no writer. */
static void count(void)
{
	char buf[256];
	ssize_t n, total = 0;

	close(to_child);
	MUST(read(start[0], buf, 1) == 1); /* after the restore */
	fcntl(from_parent, F_SETFL, 0);
	while ((n = read(from_parent, buf, sizeof(buf))) > 0)
		total += n;
	_exit(total != 13 + 5 || n < 0);
}

static void setup(void)
{
	MUST(mkfifo("family", 0600) == 0 && mkfifo("both", 0600) == 0 && mkfifo("alone", 0600) == 0);
	from_parent = opened("family", O_RDONLY | O_NONBLOCK);
	to_child = opened("family", O_WRONLY);
	MUST(fcntl(to_child, F_SETPIPE_SZ, 1 << 17) == 1 << 17 && write(to_child, "fifo contents", 13) == 13);
	both = opened("both", O_RDWR | O_CLOEXEC);
	reader = opened("both", O_RDONLY | O_NONBLOCK);
	alone = opened("alone", O_RDONLY | O_NONBLOCK);
	MUST(pipe(start) == 0 && (child = fork()) >= 0);
	if (child == 0)
		count();
}

int main(void)
{
	int status;
	char buf[16];
	ssize_t n;

	victim_begin();
	setup();
	victim_wait();
	CHECK(fcntl(to_child, F_GETPIPE_SZ) == 1 << 17, "size %d", fcntl(to_child, F_GETPIPE_SZ));
	CHECK(fcntl(to_child, F_GETFL) == (O_WRONLY | 0100000), "writer: flags %#o", fcntl(to_child, F_GETFL));
	CHECK(fcntl(both, F_GETFD) == FD_CLOEXEC, "both: FD_CLOEXEC");
	CHECK(write(to_child, "more.", 5) == 5 && close(to_child) == 0, "write to the child");
	CHECK(write(start[1], "s", 1) == 1 && close(from_parent) == 0, "start the child");
	CHECK(wait(&status) == child && status == 0, "the child's wait status is %#x", status);
	CHECK(write(both, "x", 1) == 1 && read(reader, buf, 2) == 1, "both: its descriptions are not of one fifo");
	n = read(alone, buf, 1);
	CHECK(n == 0, "alone has a writer: read gives %zd", n);
	CHECK((n = open("alone", O_WRONLY | O_NONBLOCK)) >= 0 && write(n, "y", 1) == 1 && read(alone, buf, 1) == 1,
	      "alone");
	return victim_end();
}
