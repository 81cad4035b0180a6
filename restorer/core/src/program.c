// SPDX-License-Identifier: Apache-2.0
/* The interpreter: a restore program is a list of operations, carried out in order until one fails. */
#include "core.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/signal.h>
#include <linux/stat.h>

#define AF_UNIX 1 /* socket(2); no header of the kernel's has it for user space */

/* Records the failure for the controller, which kills this process; never returns to the program. */
_Noreturn void core_fail(struct core *core, int64_t result)
{
	core->status->result = result;
	__atomic_store_n(&core->status->state, CRPIE_STATE_FAILED, __ATOMIC_RELEASE);
	core_news(core);
	for (;;)
		sys0(__NR_pause);
}

int64_t core_move_fd(int64_t fd, int64_t to, int cloexec)
{
	int64_t ret;

	if (fd == to)
		return sys3(__NR_fcntl, fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
	ret = sys3(__NR_dup3, fd, to, cloexec ? O_CLOEXEC : 0);
	sys1(__NR_close, fd);
	return ret < 0 ? ret : 0;
}

/* Gives the ends of a pair the numbers that they are to have. */
static int64_t move_pair(int *end, int first, int second)
{
	int64_t ret;

	/* the second end may have been given the number that the first one is to have */
	if (end[1] == first) {
		ret = sys3(__NR_fcntl, end[1], F_DUPFD, first + 1);
		if (ret < 0)
			return ret;
		sys1(__NR_close, end[1]);
		end[1] = ret;
	}
	ret = core_move_fd(end[0], first, 0);
	return ret < 0 ? ret : core_move_fd(end[1], second, 0);
}

static int64_t make_pipe(const struct crpie_op *op)
{
	int end[2];
	int64_t ret = sys2(__NR_pipe2, (long)end, op->pipe.flags);

	return ret < 0 ? ret : move_pair(end, op->pipe.read, op->pipe.write);
}

static int64_t make_socketpair(const struct crpie_op *op)
{
	int end[2];
	int64_t ret = sys4(__NR_socketpair, AF_UNIX, op->socketpair.type, 0, (long)end);

	return ret < 0 ? ret : move_pair(end, op->socketpair.first, op->socketpair.second);
}

/* Makes the file, or gives it another name. The mode's upper half is the number of a device. */
static int64_t name_file(const struct crpie_op *op)
{
	long path = op->open_unlinked.path, other = op->open_unlinked.link, mode = (uint32_t)op->open_unlinked.mode;

	if (S_ISLNK(mode))
		return sys3(__NR_symlinkat, other, AT_FDCWD, path);
	if (other)
		return sys6(__NR_linkat, AT_FDCWD, other, AT_FDCWD, path, 0, 0);
	if (S_ISDIR(mode))
		return sys3(__NR_mkdirat, AT_FDCWD, path, mode & 07777);
	return sys4(__NR_mknodat, AT_FDCWD, path, mode, op->open_unlinked.mode >> 32);
}

static int64_t open_named(const struct crpie_op *op)
{
	int64_t ret = name_file(op), path = op->open_unlinked.path, fd;

	if (ret < 0)
		return ret;
	fd = sys4(__NR_openat, AT_FDCWD, path, op->open_unlinked.flags, 0);
	ret = sys3(__NR_unlinkat, AT_FDCWD, path, S_ISDIR((uint32_t)op->open_unlinked.mode) ? AT_REMOVEDIR : 0);
	if (fd < 0 || ret < 0)
		return fd < 0 ? fd : ret;
	return core_move_fd(fd, op->open_unlinked.fd, 1);
}

/*
 * One operation: nothing can fail between the name's coming and going, and leave it behind. The directories that are missing
 * for the name come and go with it; a list of them, the outermost first, ends with 0.
 */
static int64_t open_unlinked(const struct crpie_op *op)
{
	const uint64_t *dirs = (const uint64_t *)op->open_unlinked.dirs;
	int64_t ret = 0, gone;
	int made = 0;

	while (dirs[made] && (ret = sys3(__NR_mkdirat, AT_FDCWD, dirs[made], 0700)) == 0)
		made++;
	if (ret == 0)
		ret = open_named(op);
	while (made-- > 0) {
		gone = sys3(__NR_unlinkat, AT_FDCWD, dirs[made], AT_REMOVEDIR);
		if (ret >= 0 && gone < 0)
			ret = gone;
	}
	return ret;
}

static int64_t system_call(const struct crpie_op *op)
{
	int64_t ret = core_syscall(op->nr, op->arg);

	if (ret >= 0 && (op->flags & CRPIE_OPF_FD))
		return core_move_fd(ret, op->want, op->flags & CRPIE_OPF_CLOEXEC);
	return ret;
}

static int64_t copy_memory(const struct crpie_op *op)
{
	__builtin_memcpy((void *)op->copy_memory.to, (const void *)op->copy_memory.from, op->copy_memory.len);
	return 0;
}

/* A parent that has ended before cannot be noticed by the kernel: this process has another one. */
static int64_t set_pdeathsig(const struct crpie_op *op)
{
	int64_t ret = sys2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);

	if (!ret && sys0(__NR_getppid) != (long)op->set_pdeathsig.parent)
		sys1(__NR_exit_group, 1);
	return ret;
}

static int64_t carry_out(struct core *core, const struct crpie_op *op)
{
	switch (op->code) {
	case CRPIE_OP_SYSCALL:
		return system_call(op);
	case CRPIE_OP_PIPE:
		return make_pipe(op);
	case CRPIE_OP_SOCKETPAIR:
		return make_socketpair(op);
	case CRPIE_OP_OPEN_UNLINKED:
		return open_unlinked(op);
	case CRPIE_OP_OPEN_PTY:
		return core_open_pty(op);
	case CRPIE_OP_INSERT_INPUT:
		return core_insert_input(op);
	case CRPIE_OP_OPEN_EXITED_PIDFDS:
		return core_open_exited_pidfds(op);
	case CRPIE_OP_OPEN_EXITED_PROC:
		return core_open_exited_proc(op);
	case CRPIE_OP_DRAIN_EVENTS:
		return core_drain_events(op);
	case CRPIE_OP_READ_PAGES:
		return core_read_pages(core, op);
	case CRPIE_OP_UPDATE_PAGES:
		return core_update_pages(core, op);
	case CRPIE_OP_COPY_MEMORY:
		return copy_memory(op);
	case CRPIE_OP_SETUP_AIO:
		return core_setup_aio(op);
	case CRPIE_OP_CREATE_TIMER:
		return core_create_timer(op);
	case CRPIE_OP_EXPIRE_TIMER:
		return core_expire_timer(op);
	case CRPIE_OP_START_TIMER:
		return core_start_timer(core, op);
	case CRPIE_OP_CLONE_TASK:
		return core_clone_task(core, op);
	case CRPIE_OP_CLONE_THREAD:
		return core_clone_thread(core, op);
	case CRPIE_OP_RUN_TASK:
		core_run_task(core, (const struct crpie_task *)core->plan->tasks + op->run_task.task);
	case CRPIE_OP_SET_PDEATHSIG:
		return set_pdeathsig(op);
	case CRPIE_OP_WAIT_TRACED:
		return core_wait_traced(core);
	case CRPIE_OP_WAIT_GATE:
		return core_wait_gate(core, op);
	case CRPIE_OP_ARRIVE_BARRIER:
		return core_arrive_barrier(core, op);
	case CRPIE_OP_WAIT_BARRIER:
		return core_wait_barrier(core, op);
	case CRPIE_OP_SET_MARK:
		return core_set_mark(core, op);
	case CRPIE_OP_WAIT_MARK:
		return core_wait_mark(core, op);
	case CRPIE_OP_NOTIFY:
		return core_notify(core, op);
	case CRPIE_OP_UNSHARE_STATUS:
		return core_unshare_status(core);
	case CRPIE_OP_RUN_HOOKS:
		return core_run_hooks(core, op->run_hooks.stage);
	case CRPIE_OP_PARK:
		core_park(core);
	case CRPIE_OP_EXIT_GROUP:
		sys1(__NR_exit_group, op->exit_group.status);
	}
	return -ENOSYS;
}

static int failed(const struct crpie_op *op, int64_t result)
{
	if (op->flags & CRPIE_OPF_MAY_FAIL)
		return 0;
	if (op->flags & CRPIE_OPF_WANT)
		return result != op->want;
	if (op->code == CRPIE_OP_RUN_HOOKS) /* a plugin may return any int */
		return result != 0;
	/* only the top 4095 values are errors: mmap(2) may return an address with bit 63 set, and so may others */
	return (uint64_t)result >= (uint64_t)-4095L;
}

void core_run_program(struct core *core)
{
	const struct crpie_op *ops = (const struct crpie_op *)core->thread->ops;
	uint64_t i;

	__atomic_store_n(&core->status->state, CRPIE_STATE_RUNNING, __ATOMIC_RELAXED);
	for (i = 0; i < core->thread->nr_ops; i++) {
		int64_t result;

		__atomic_store_n(&core->status->op, i, __ATOMIC_RELAXED);
		result = carry_out(core, &ops[i]);
		if (failed(&ops[i], result))
			core_fail(core, result);
		if (ops[i].code == CRPIE_OP_START_TIMER)
			i += result; /* operations to skip */
	}
	core_fail(core, -ENOEXEC); /* a program ends with PARK or EXIT_GROUP */
}
