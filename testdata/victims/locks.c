/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks: two ranges of fcntl(2), one of the child's, an open file description lock, flock(2) exclusive and shared,
 * and leases for reading and for writing; leases that somebody was about to break. The child has one of a file of which
 * this process has one, too.
 *
 * locks plain: without the latter, which criu restore cannot do, and unaware of signals that it sends once more.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

int victim_failures;

static int ranges, described, exclusive, shared, readers, writer, child_pipe[2], child_answer[2], plain;
static pid_t child;

/* What breaks a lease, and what is left of it if its holder agrees. */
static const struct breach {
	const char *name;
	int has, lease, by, leaves;
} breaches[] = {
	{ "broken 0", O_RDWR, F_WRLCK, O_WRONLY, F_UNLCK },   { "broken 1", O_RDONLY, F_WRLCK, O_RDONLY, F_RDLCK },
	{ "broken 2", O_RDWR, F_WRLCK, O_RDONLY, F_RDLCK },   { "broken 3", O_RDONLY, F_RDLCK, O_RDWR, F_UNLCK },
	{ "broken 4", O_RDONLY, F_RDLCK, O_WRONLY, F_UNLCK }, /* the child has one as well */
};
#define NR_BREACHES (int)(sizeof(breaches) / sizeof(breaches[0]))
static int broken[NR_BREACHES];

static int lock(int fd, int cmd, int type, off_t start, off_t len, pid_t *holder)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
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

static int breaks(const struct breach *b)
{
	int fd = open(b->name, b->by | O_NONBLOCK);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno != EWOULDBLOCK;
}

static int take_lease(const struct breach *b)
{
	int fd;

	close(created(b->name));
	MUST((fd = open(b->name, b->has)) >= 0 && fcntl(fd, F_SETLEASE, b->lease) == 0);
	return fd;
}

static int nr_breaches(void)
{
	return plain ? NR_BREACHES - 1 : NR_BREACHES;
}

static int io_signals(void)
{
	struct timespec now = { 0 };
	sigset_t io;
	int n = 0;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	while (sigtimedwait(&io, NULL, &now) == SIGIO)
		n++;
	return n;
}

static void setup_leases(void)
{
	sigset_t io;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	MUST(sigprocmask(SIG_BLOCK, &io, NULL) == 0);
	for (int i = 0; i < nr_breaches(); i++)
		broken[i] = take_lease(&breaches[i]);
}

static void break_leases(void)
{
	for (int i = 0; i < nr_breaches(); i++)
		MUST(breaks(&breaches[i]) == 0);
	MUST(io_signals() == 1);
}

/* What is pending stays so until the holder says something; nobody is told twice. */
static void check_leases(void)
{
	CHECK(plain || io_signals() == 0, "told once more that leases are about to be broken");
	io_signals();
	for (int i = 0; i < nr_breaches(); i++) {
		const struct breach *b = &breaches[i];

		CHECK(fcntl(broken[i], F_GETLEASE) == b->leaves, "%s: leaves a lease %d", b->name,
		      fcntl(broken[i], F_GETLEASE));
		CHECK(breaks(b) == 0, "%s: it can be opened", b->name);
		CHECK(fcntl(broken[i], F_SETLEASE, b->has == O_RDONLY ? b->leaves : F_UNLCK) == 0, "%s: %s", b->name,
		      strerror(errno));
		CHECK(i == NR_BREACHES - 1 || breaks(b) == 1, "%s: it cannot be opened: %s", b->name, strerror(errno));
	}
	CHECK(io_signals() == 0, "told of leases that are broken already");
	CHECK(open("writer", O_RDONLY | O_NONBLOCK) < 0 && errno == EWOULDBLOCK && io_signals() == 1,
	      "not told that a lease is about to be broken");
}

static void childs_lease(void)
{
	const struct breach *b = &breaches[NR_BREACHES - 1];
	char byte;
	int fd = -1;

	MUST(plain || ((fd = open(b->name, b->has)) >= 0 && fcntl(fd, F_SETLEASE, b->lease) == 0));
	MUST(write(child_pipe[1], "l", 1) == 1);
	if (read(child_answer[0], &byte, 1) != 1 || plain)
		return;
	CHECK(io_signals() == 1, "the child is not told, or once more"); /* by break_leases */
	CHECK(fcntl(fd, F_GETLEASE) == F_UNLCK, "the child's lease %d", fcntl(fd, F_GETLEASE));
	CHECK(breaks(b) == 0, "the child's lease: it can be opened");
	CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0 && breaks(b) == 1, "the child's lease: it cannot be opened");
}

static void wait_with_lock(void)
{
	MUST((ranges = open("ranges", O_RDWR)) >= 0); /* CRIU dumps the locks of one task for each description */
	MUST(lock(ranges, F_SETLK, F_WRLCK, 100, 10, NULL) == 0);
	childs_lease();
	fflush(stdout);
	_exit(victim_failures);
}

/* Somebody else looks: a process has no conflict with its own locks. */
static int looks(void)
{
	static const struct {
		off_t at;
		int type, of_child, free;
	} want[] = {
		{ 9, F_WRLCK, 0, 1 },   { 10, F_WRLCK, 0, 0 },       { 19, F_WRLCK, 0, 0 },
		{ 20, F_WRLCK, 0, 1 },  { 1l << 40, F_WRLCK, 0, 0 }, { 1l << 40, F_RDLCK, 0, 1 },
		{ 105, F_WRLCK, 1, 0 }, { 110, F_WRLCK, 0, 1 },
	};
	pid_t holder, parent = getppid();
	int fd;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		lock(ranges, F_GETLK, want[i].type, want[i].at, 1, &holder);
		CHECK(holder == (want[i].free     ? 0 :
				 want[i].of_child ? child :
						    parent),
		      "byte %ld: locked by %d", (long)want[i].at, holder);
	}
	fd = open("described", O_RDWR);
	CHECK(lock(fd, F_OFD_SETLK, F_RDLCK, 5, 1, NULL) < 0 && errno == EAGAIN, "description lock is gone");
	CHECK(lock(fd, F_OFD_SETLK, F_WRLCK, 6, 1, NULL) == 0, "description lock is too large");
	CHECK(flock(open("exclusive", O_RDWR), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK,
	      "exclusive lock is gone");
	CHECK(flock(open("shared", O_RDWR), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "shared lock is gone");
	CHECK(flock(open("shared", O_RDWR), LOCK_SH | LOCK_NB) == 0, "shared lock is exclusive");
	fflush(stdout);
	return victim_failures;
}

int main(int argc, char **argv)
{
	char byte;
	int status;
	pid_t looker;

	plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	victim_begin();
	setup_leases();
	ranges = created("ranges");
	described = created("described");
	exclusive = created("exclusive");
	shared = created("shared");
	MUST(pipe(child_pipe) == 0 && pipe(child_answer) == 0 && (child = fork()) >= 0);
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
	break_leases();

	victim_wait();
	CHECK(fcntl(readers, F_GETLEASE) == F_RDLCK, "read lease: %d", fcntl(readers, F_GETLEASE));
	CHECK(fcntl(writer, F_GETLEASE) == F_WRLCK, "write lease: %d", fcntl(writer, F_GETLEASE));
	MUST((looker = fork()) >= 0);
	if (looker == 0)
		_exit(looks());
	CHECK(waitpid(looker, &status, 0) == looker && status == 0, "the looker's wait status is %#x", status);
	check_leases();
	CHECK(write(child_answer[1], "l", 1) == 1 && waitpid(child, &status, 0) == child && status == 0,
	      "the child's wait status is %#x", status);
	return victim_end();
}
