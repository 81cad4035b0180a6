// SPDX-License-Identifier: Apache-2.0
/*
 * Memory that no two restored processes may have in common: states of the vDSO's getrandom, and what is to be wiped in a forked
 * child. No thread of the application runs, and the kernel may drop states at any moment anyway.
 */
#include "graft.h"
#include "syscall.h"

#include <linux/mman.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x8 /* mmap(2), Linux 6.11 */
#endif
#define MADV_DONTDUMP 16
#define MADV_WIPEONFORK 18

static int64_t map_over(const struct graft_renewal *r, int flags)
{
	return sys6(__NR_mmap, r->start, r->size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* A kernel without MAP_DROPPABLE has no getrandom in its vDSO either: private memory does for it. */
static int64_t renew_states(const struct graft_renewal *r)
{
	int64_t ret = map_over(r, MAP_DROPPABLE);

	if (ret == (int64_t)r->start)
		return 0;
	ret = map_over(r, MAP_PRIVATE | MAP_NORESERVE);
	if (ret < 0)
		return ret;
	sys3(__NR_madvise, r->start, r->size, MADV_DONTDUMP);
	return sys3(__NR_madvise, r->start, r->size, MADV_WIPEONFORK);
}

static int64_t renew(const struct graft_renewal *r)
{
	if (r->kind == GRAFT_RENEW_STATES)
		return renew_states(r);
	return sys3(__NR_madvise, r->start, r->size, MADV_DONTNEED); /* zeros, madvise(2) */
}

static void report(const struct graft_worker *w, const struct graft_renewal *r, int64_t error)
{
	struct graft_line line;

	graft_begin_line(&line, w);
	graft_put(&line, "Error: random state at ");
	graft_put_hex(&line, r->start);
	graft_put(&line, " cannot be renewed: errno ");
	graft_put_int(&line, -error);
	graft_end_line(&line, w->task);
}

void graft_renew(const struct graft_worker *w)
{
	const struct graft_renewal *r = (const struct graft_renewal *)w->task->renewals;
	const struct graft_renewal *end = r + w->task->nr_renewals;

	for (; r < end; r++) {
		int64_t ret = renew(r);

		if (ret >= 0)
			continue;
		report(w, r, ret);
		if (w->task->on_error == GRAFT_ON_ERROR_KILL)
			sys1(__NR_exit_group, GRAFT_EXIT_STATUS);
	}
}
