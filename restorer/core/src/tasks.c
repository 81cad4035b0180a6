// SPDX-License-Identifier: Apache-2.0
/* Creating tasks and threads with the ids they had, clone3(2) with set_tid. */
#include "core.h"
#include "syscall.h"

#include <linux/sched.h>

static uint32_t task_barriers[CRPIE_NR_BARRIERS]; /* each task has its own copy of the blob */

#define TAKEN_TRIES 1000 /* milliseconds */

/*
 * clone3 with set_tid says EEXIST while anything has the number: also a page reader or an earlier process that is just
 * going, which on a busy machine takes some time. Patience tells those from a number that is really taken.
 */
int core_wait_for_id(int64_t result, int *tries)
{
	struct {
		int64_t sec, nsec;
	} ms = { 0, 1000000 };

	if (result != -EEXIST || ++*tries > TAKEN_TRIES)
		return 0;
	sys2(__NR_nanosleep, (long)&ms, 0);
	return 1;
}

static void become(struct core *core, const struct core *parent, const struct crpie_task *task,
		   const struct crpie_thread *thread)
{
	core->plan = parent->plan;
	core->task = task;
	core->thread = thread;
	core->shared = parent->shared;
	core->bell = parent->bell;
	core->status = &parent->shared->status[thread->status];
	core->barriers = task_barriers;
}

_Noreturn void core_run_task(const struct core *parent, const struct crpie_task *task)
{
	struct core core;

	become(&core, parent, task, (const struct crpie_thread *)task->threads);
	core_run_program(&core);
	__builtin_unreachable();
}

/* The child goes on at the same place of its copy of this stack. */
int64_t core_clone_task(struct core *core, const struct crpie_op *op)
{
	const struct crpie_task *task = (const struct crpie_task *)core->plan->tasks + op->clone_task.task;
	const uint64_t flags = op->clone_task.flags;
	int32_t set_tid = task->pid;
	struct clone_args args = {
		.flags = flags,
		.exit_signal = flags & CLONE_PARENT ? 0 : 17 /* SIGCHLD */,
		.set_tid = (uint64_t)&set_tid,
		.set_tid_size = 1,
	};
	int64_t pid;
	int tries = 0;

	do
		pid = sys2(__NR_clone3, (long)&args, sizeof(args));
	while (core_wait_for_id(pid, &tries));
	if (pid == 0)
		core_run_task(core, task);
	return pid;
}

/* What a new thread has to know lies on top of its stack: the parent need not wait until it has been read. */
struct start {
	const struct core *parent;
	const struct crpie_thread *thread;
};
_Static_assert(sizeof(struct start) % 16 == 0, "stacks are aligned to 16 bytes, psABI 3.2.2");

static void thread_main(void *arg)
{
	const struct start *start = arg;
	struct core core;

	become(&core, start->parent, start->parent->task, start->thread);
	core_run_program(&core);
}

int64_t core_clone_thread(struct core *core, const struct crpie_op *op)
{
	const struct crpie_thread *thread = (const struct crpie_thread *)core->task->threads + op->clone_thread.thread;
	struct start *start = (struct start *)(thread->stack + thread->stack_size) - 1;
	int32_t set_tid = thread->tid;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
		.set_tid = (uint64_t)&set_tid,
		.set_tid_size = 1,
		.stack = thread->stack,
		.stack_size = thread->stack_size - sizeof(*start),
	};
	int64_t tid;
	int tries = 0;

	*start = (struct start){ .parent = core, .thread = thread };
	do
		tid = core_clone_onto(&args, sizeof(args), thread_main, start);
	while (core_wait_for_id(tid, &tries));
	return tid;
}

/* A zygote that was given an id of the plan must not act: the controller starts another. */
static int in_the_way(const struct crpie_plan *plan)
{
	const struct crpie_task *tasks = (const struct crpie_task *)plan->tasks;
	int32_t self = sys0(__NR_getpid);
	uint64_t i, j;

	for (i = 0; i < plan->nr_tasks; i++)
		for (j = 0; j < tasks[i].nr_threads; j++)
			if (((const struct crpie_thread *)tasks[i].threads)[j].tid == self)
				return 1;
	return 0;
}

#define TASK_SIZE_MAX 0x7ffffffff000UL /* Documentation/arch/x86/x86_64/mm.rst */

/* What the kernel mapped for execve(2), the stub included, goes; the region is all that is left. */
_Noreturn void core_zygote(const struct crpie_plan *plan)
{
	struct core core = {
		.plan = plan,
		.thread = &plan->zygote,
		.shared = (struct crpie_shared *)plan->shared,
		.bell = (struct crpie_bell *)plan->bell,
	};

	if (plan->zygote.tid == 0 && in_the_way(plan))
		sys1(__NR_exit_group, 0);
	sys2(__NR_munmap, 0, plan->region_start);
	sys2(__NR_munmap, plan->region_end, TASK_SIZE_MAX - plan->region_end);
	core.status = &core.shared->status[plan->zygote.status];
	core_run_program(&core);
	__builtin_unreachable();
}
