// SPDX-License-Identifier: Apache-2.0
/* The way of a thread through the blob: save, hooks of the thread, wait for all, hooks of the task, leave. */
#include "graft.h"
#include "hooks.h"
#include "syscall.h"

#include <linux/mman.h>
#include <linux/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum { THREADS_MAY_RUN = 1, THREADS_MAY_LEAVE = 2 };

static uint32_t gate;    /* futex */
static uint32_t arrived; /* futex: threads that have run their hooks */

#define NAME "crpie graft"

/* Puts what is at task->keep_start into a file that exists only as this mapping: "/memfd:crpie graft (deleted)". */
static void remap_what_stays(const struct graft_task *task, int fd)
{
	uint64_t start = task->keep_start, frames = task->keep_size - GRAFT_PAGE;
	int flags = MAP_PRIVATE | MAP_FIXED;

	if (sys3(__NR_write, fd, start, task->keep_size) != (long)task->keep_size)
		return;
	if (sys6(__NR_mmap, start, GRAFT_PAGE, PROT_READ | PROT_EXEC, flags, fd, 0) == (long)start)
		sys6(__NR_mmap, start + GRAFT_PAGE, frames, PROT_READ | PROT_WRITE, flags, fd, GRAFT_PAGE);
}

/*
 * /proc/PID/maps shall say whose memory stays: prctl(2) PR_SET_VMA_ANON_NAME, and a memfd where the kernel lacks it
 * (CONFIG_ANON_VMA_NAME). All frames are complete. Failing costs only the name.
 */
static void name_what_stays(const struct graft_task *task)
{
	int64_t fd;

	if (sys6(__NR_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, task->keep_start, task->keep_size, (long)NAME, 0) == 0)
		return;
	fd = sys2(__NR_memfd_create, (long)NAME, 1 /* MFD_CLOEXEC */);
	if (fd < 0)
		return;
	remap_what_stays(task, fd);
	sys1(__NR_close, fd);
}

static struct graft_leave *leave_of(const struct graft_task *task)
{
	const struct graft_thread *leader = (const struct graft_thread *)task->threads;

	return (struct graft_leave *)(leader->frame + GRAFT_LEAVE_OFF);
}

static void begin_task(struct graft_worker *w)
{
	struct graft_leave *leave = leave_of(w->task);

	leave->inside = w->task->nr_threads;
	leave->blob_start = w->task->blob_start;
	leave->blob_size = w->task->blob_size;
	graft_begin_status(w->task);
	graft_renew(w);
	if (graft_guard_task(w) == 0) {
		graft_guard_thread(w);
		hooks_run_inits((struct caller *)w);
	}
	graft_raise(&gate, THREADS_MAY_RUN);
}

static void finish_task(struct graft_worker *w)
{
	graft_wait_at_least(&arrived, w->task->nr_threads);
	graft_guard_thread(w);
	hooks_run((struct caller *)w, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN);
	graft_unguard_thread();
	graft_unguard_task(w);
	name_what_stays(w->task);
	graft_finish_status(w->task);
	graft_raise(&gate, THREADS_MAY_LEAVE);
}

_Noreturn void graft_main(const struct graft_thread *thread)
{
	struct graft_worker *w = graft_worker_of(thread);
	const struct graft_task *task = (const struct graft_task *)thread->task;
	void (*leave)(uint64_t, struct graft_leave *) = (void (*)(uint64_t, struct graft_leave *))task->keep_start;

	graft_save_state(thread);
	w->thread = thread;
	__atomic_store_n(&w->task, task, __ATOMIC_RELEASE); /* the watchdog looks */
	if (thread->index == 0)
		begin_task(w);
	graft_wait_at_least(&gate, THREADS_MAY_RUN);
	graft_guard_thread(w);
	hooks_run((struct caller *)w, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD);
	graft_unguard_thread();
	graft_raise(&arrived, 0);
	if (thread->index == 0)
		finish_task(w);
	graft_wait_at_least(&gate, THREADS_MAY_LEAVE);
	leave(thread->frame + 8, leave_of(task));
	__builtin_unreachable();
}
