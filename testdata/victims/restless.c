/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Never at rest, and minds every interruption: threads are born and joined all the time, others wait with a timeout in
 * calls that a stop of the process makes return EINTR, or sleep; one computes. SIGTRAP is ignored. No thread may see
 * EINTR.
 */
#include "victim.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <time.h>

int victim_failures;
static volatile int finished;

static void *compute(void *arg)
{
	uint64_t x = 1, steps = 0, check = 1;

	for (; !finished; steps++)
		x = x * 6364136223846793005u + 1;
	while (steps--)
		check = check * 6364136223846793005u + 1;
	CHECK(x == check, "computed %lx instead of %lx", x, check);
	return arg;
}

static void *poll_events(void *arg)
{
	struct epoll_event event;
	int fd = epoll_create1(0);

	MUST(fd >= 0);
	while (!finished)
		CHECK(epoll_wait(fd, &event, 1, 50) == 0, "epoll_wait: %s", strerror(errno));
	return arg;
}

static void *receive(void *arg)
{
	struct timeval limit = { .tv_usec = 50000 };
	int fds[2];
	char byte;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	MUST(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	while (!finished)
		CHECK(recv(fds[0], &byte, 1, 0) == -1 && errno == EAGAIN, "recv: %s", strerror(errno));
	return arg;
}

static void *take(void *arg)
{
	struct sembuf down = { .sem_op = -1 };
	struct timespec limit = { .tv_nsec = 50000000 };
	int id = semget(IPC_PRIVATE, 1, 0600);

	MUST(id >= 0);
	while (!finished)
		CHECK(semtimedop(id, &down, 1, &limit) == -1 && errno == EAGAIN, "semtimedop: %s", strerror(errno));
	semctl(id, 0, IPC_RMID);
	return arg;
}

static void *doze(void *arg)
{
	struct timespec time = { .tv_nsec = 50000000 };

	while (!finished)
		CHECK(nanosleep(&time, NULL) == 0, "nanosleep: %s", strerror(errno));
	return arg;
}

static void *same(void *arg)
{
	return arg;
}

static void *bear(void *arg)
{
	for (long n = 0; !finished; n++) {
		pthread_t child;
		void *got;

		MUST(pthread_create(&child, NULL, same, (void *)n) == 0);
		pthread_join(child, &got);
		CHECK(got == (void *)n, "child %ld returned %p", n, got);
	}
	return arg;
}

int main(void)
{
	static void *(*const all[])(void *) = { compute, poll_events, receive, take, doze, bear };
	enum { COUNT = sizeof(all) / sizeof(all[0]) };
	pthread_t threads[COUNT];
	struct sigaction trap;

	victim_begin();
	signal(SIGTRAP, SIG_IGN);
	for (int i = 0; i < COUNT; i++)
		MUST(pthread_create(&threads[i], NULL, all[i], NULL) == 0);
	victim_wait();
	finished = 1;
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	sigaction(SIGTRAP, NULL, &trap);
	CHECK(trap.sa_handler == SIG_IGN, "the action of SIGTRAP is lost");
	return victim_end();
}
