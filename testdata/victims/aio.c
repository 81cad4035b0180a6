/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AIO contexts: one whose ring has gone round and holds events that nobody has taken yet, one whose ring is empty, and
 * one as it was made. A child has a context of its own.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HELD 37
#define BYTES 512

int victim_failures;

static aio_context_t round_ctx, empty_ctx, fresh_ctx, child_ctx;
static char buffer[BYTES];
static int file, ready_pipe[2], go_pipe[2];

/* The start of a ring, as libaio reads it. */
struct ring {
	unsigned int id, nr, head, tail, magic;
};

static aio_context_t set_up(unsigned int requests)
{
	aio_context_t ctx = 0;

	MUST(syscall(SYS_io_setup, requests, &ctx) == 0);
	return ctx;
}

static int submit(aio_context_t ctx, uint64_t data)
{
	struct iocb cb = { .aio_data = data,
			   .aio_lio_opcode = IOCB_CMD_PREAD,
			   .aio_fildes = file,
			   .aio_buf = (uint64_t)buffer,
			   .aio_nbytes = data % BYTES };
	struct iocb *all[] = { &cb };

	return syscall(SYS_io_submit, ctx, 1, all);
}

/* Takes count events with data from first on, and says how many of them were right. */
static int take(aio_context_t ctx, int first, int count)
{
	struct timespec soon = { .tv_sec = 10 };
	struct io_event event;
	int right = 0;

	for (int i = 0; i < count; i++)
		right += syscall(SYS_io_getevents, ctx, 1, 1, &event, &soon) == 1 &&
			 event.data == (uint64_t)first + i && event.res == (first + i) % BYTES && event.res2 == 0;
	return right;
}

static int none_left(aio_context_t ctx)
{
	struct timespec now = { 0 };
	struct io_event event;

	return syscall(SYS_io_getevents, ctx, 0, 1, &event, &now) == 0;
}

/* Whatever is in flight has come back when as many events have been taken as submitted. */
static void use(const char *what, aio_context_t ctx)
{
	CHECK(none_left(ctx), "%s: an event too many", what);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 30; i++)
			CHECK(submit(ctx, 1000 + i) == 1, "%s: submit: %s", what, strerror(errno));
		CHECK(take(ctx, 1000, 30) == 30, "%s: events of round %d", what, round);
	}
	CHECK(none_left(ctx) && syscall(SYS_io_destroy, ctx) == 0, "%s: destroy", what);
}

static void child(void)
{
	char byte;

	MUST(syscall(SYS_io_getevents, round_ctx, 0, 0, NULL, NULL) < 0); /* contexts are not inherited */
	child_ctx = set_up(4);
	MUST(submit(child_ctx, 7) == 1 && write(ready_pipe[1], "r", 1) == 1);
	close(go_pipe[1]);
	CHECK(read(go_pipe[0], &byte, 1) == 0 && take(child_ctx, 7, 1) == 1, "the child's event");
	use("child", child_ctx);
	fflush(stdout);
	_exit(victim_failures);
}

int main(void)
{
	struct ring before, *ring;
	int status;
	char byte;
	pid_t pid;

	victim_begin();
	MUST((file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0 && ftruncate(file, BYTES) == 0);
	MUST(pipe(ready_pipe) == 0 && pipe(go_pipe) == 0);
	round_ctx = set_up(8);
	ring = (struct ring *)round_ctx;
	for (unsigned int i = 0; i < ring->nr - 10; i++)
		MUST(submit(round_ctx, i) == 1 && take(round_ctx, i, 1) == 1);
	for (int i = 0; i < HELD + 3; i++)
		MUST(submit(round_ctx, i) == 1);
	MUST(take(round_ctx, 0, 3) == 3 && ring->tail < ring->head);
	empty_ctx = set_up(1000);
	for (int i = 0; i < 50; i++)
		MUST(submit(empty_ctx, i) == 1 && take(empty_ctx, i, 1) == 1);
	fresh_ctx = set_up(1);
	before = *ring;

	MUST((pid = fork()) >= 0);
	if (pid == 0)
		child();
	MUST(read(ready_pipe[0], &byte, 1) == 1);

	victim_wait();
	CHECK(ring->nr == before.nr && ring->head == before.head && ring->tail == before.tail &&
		      ring->magic == before.magic,
	      "ring of %u events, head %u, tail %u, was %u, %u, %u", ring->nr, ring->head, ring->tail, before.nr,
	      before.head, before.tail);
	CHECK(take(round_ctx, 3, HELD) == HELD, "events that were there before");
	use("round", round_ctx);
	use("empty", empty_ctx);
	use("fresh", fresh_ctx);
	close(go_pipe[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child's wait status is %#x", status);
	return victim_end();
}
