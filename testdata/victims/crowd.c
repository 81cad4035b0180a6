/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many tasks: crowd [N [connected]]. The root has N children (70), each with memory of its own from before and after
 * the fork, and a soft limit of 64 descriptors, which the root has not. With "connected" each has a TCP connection with
 * the root. After SIGUSR1 the root asks every child for its number.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SIZE (8 << 10) /* bytes, of each kind of memory */
#define LOW 64

int victim_failures;

static char *changed, *kept; /* by the children */
static int ask[2], answer[2], listener = -1;

static void limit_descriptors(rlim_t soft)
{
	struct rlimit l;

	MUST(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l.rlim_cur = soft;
	MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
}

static rlim_t descriptors(void)
{
	struct rlimit l = { 0, 0 };

	getrlimit(RLIMIT_NOFILE, &l);
	return l.rlim_cur;
}

static int listen_here(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 16) == 0);
	return fd;
}

static int connect_there(void)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&at, len) == 0);
	return fd;
}

static char *memory(uint64_t seed)
{
	char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED);
	fill(at, SIZE, seed);
	return at;
}

/* A child waits for the question in its connection, or in the pipe that all have. */
_Noreturn static void child(int number, int from)
{
	pid_t pid = getpid(), parent = getppid();
	char *own = memory(pid), byte;

	fill(changed, SIZE, number);
	limit_descriptors(LOW);
	MUST(write(answer[1], &number, sizeof(number)) == sizeof(number));
	CHECK(read(from, &byte, 1) == 1 && byte == 'q', "child %d: the question: %s", number, strerror(errno));
	CHECK(getpid() == pid && getppid() == parent, "child %d: pid %d, parent %d, were %d and %d", number, getpid(),
	      getppid(), pid, parent);
	CHECK(descriptors() == LOW, "child %d: limit %lu", number, (unsigned long)descriptors());
	check_fill("memory of the child's", own, SIZE, pid);
	check_fill("memory changed by the child", changed, SIZE, number);
	check_fill("memory of the root's", kept, SIZE, ~0);
	CHECK(write(from == ask[0] ? answer[1] : from, &number, sizeof(number)) == sizeof(number),
	      "child %d: the answer", number);
	fflush(stdout);
	_exit(victim_failures != 0);
}

/* Gives the root's end of the connection. */
static int spawn(int number)
{
	int theirs = listener < 0 ? ask[0] : connect_there(),
	    ours = listener < 0 ? ask[1] : accept(listener, NULL, NULL);
	pid_t pid;

	MUST(ours >= 0 && (pid = fork()) >= 0);
	if (pid == 0) {
		if (listener >= 0)
			MUST(dup2(theirs, listener) == listener && close_range(listener + 1, ~0U, 0) == 0);
		child(number, listener < 0 ? theirs : listener);
	}
	if (listener >= 0)
		close(theirs);
	return ours;
}

static int get(int fd)
{
	int number = -1;

	return read(fd, &number, sizeof(number)) == sizeof(number) ? number : -1;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 70, connected = argc > 2, status, *to = calloc(n, sizeof(*to));
	char *heard = calloc(n, 1);

	victim_begin();
	limit_descriptors(n + 64);
	MUST(pipe(ask) == 0 && pipe(answer) == 0);
	kept = memory(~0);
	changed = memory(~0);
	if (connected)
		listener = listen_here();
	for (int i = 0; i < n; i++) {
		to[i] = spawn(i);
		MUST(get(answer[0]) == i);
	}

	victim_wait();
	CHECK(descriptors() == (rlim_t)n + 64, "the root's limit is %lu", (unsigned long)descriptors());
	check_fill("memory of the root's", kept, SIZE, ~0);
	check_fill("memory of the root's that children changed", changed, SIZE, ~0);
	for (int i = 0; i < n; i++)
		CHECK(write(to[i], "q", 1) == 1, "ask child %d: %s", i, strerror(errno));
	for (int i = 0; i < n; i++) {
		int number = get(connected ? to[i] : answer[0]);

		CHECK(number >= 0 && number < n && !heard[number]++ && (!connected || number == i),
		      "child %d answers for %d", number, i);
	}
	while (wait(&status) > 0)
		CHECK(status == 0, "a child ended with wait status %#x", status);
	return victim_end();
}
