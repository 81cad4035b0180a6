// SPDX-License-Identifier: Apache-2.0
/*
 * AIO contexts, io_setup(2). The ring of completed events is memory of the task, but where the next event goes is known
 * to the kernel alone: as many events are completed as it takes to get there.
 */
#include "core.h"
#include "syscall.h"

#include <linux/aio_abi.h>
#include <linux/mman.h>

/* The start of a ring: fs/aio.c; libaio reads it, too. */
struct ring {
	uint32_t id, nr, head, tail, magic, compat, incompat, header;
	struct io_event event[];
};

#define BATCH 64

/* Reads of nothing from /dev/null are complete at once. Their events are taken out of the ring, or left in it. */
static int64_t complete(aio_context_t ctx, int fd, uint32_t count, int take)
{
	struct io_event event[BATCH];
	struct iocb read = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd };
	struct iocb *all[BATCH];
	int64_t ret;
	int i;

	for (i = 0; i < BATCH; i++)
		all[i] = &read;
	while (count) {
		ret = sys3(__NR_io_submit, ctx, count < BATCH ? count : BATCH, (long)all);
		if (ret <= 0)
			return ret ? ret : -EAGAIN;
		count -= ret;
		if (take)
			ret = sys6(__NR_io_getevents, ctx, ret, ret, (long)event, 0, 0);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The old ring lies in ordinary memory; as many events make one of the same size, which takes its place. */
int64_t core_setup_aio(const struct crpie_op *op)
{
	const uint64_t addr = op->setup_aio.ring, len = op->setup_aio.len;
	struct ring *old = (struct ring *)addr, *new;
	aio_context_t ctx = 0;
	uint32_t i, held, total;
	int64_t ret = sys2(__NR_io_setup, op->setup_aio.nr_events, (long)&ctx);

	if (ret < 0)
		return ret;
	new = (struct ring *)ctx;
	if (new->nr != old->nr) /* it depends on the number of possible CPUs as well */
		return -E2BIG;
	held = (old->tail + old->nr - old->head) % old->nr;
	total = old->tail < held ? old->tail + old->nr : old->tail;
	ret = complete(ctx, op->setup_aio.null, total - held, 1);
	if (ret == 0)
		ret = complete(ctx, op->setup_aio.null, held, 0);
	if (ret < 0)
		return ret;
	for (i = 0; i < old->nr; i++)
		new->event[i] = old->event[i];
	ret = sys6(__NR_mremap, ctx, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr, 0);
	return (uint64_t)ret == addr ? 0 : ret;
}
