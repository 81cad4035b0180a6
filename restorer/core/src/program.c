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

/* Makes a pipe or a pair of sockets and gives its ends the numbers arg[1] and arg[2]. */
static int64_t make_pair(const struct crpie_op *op)
{
	int end[2];
	int64_t ret = op->code == CRPIE_OP_PIPE ? sys2(__NR_pipe2, (long)end, op->arg[0]) :
						  sys4(__NR_socketpair, AF_UNIX, op->arg[0], 0, (long)end);

	if (ret < 0)
		return ret;
	/* the second end may have been given the number that the first one is to have */
	if (end[1] == (int)op->arg[1]) {
		ret = sys3(__NR_fcntl, end[1], F_DUPFD, op->arg[1] + 1);
		if (ret < 0)
			return ret;
		sys1(__NR_close, end[1]);
		end[1] = ret;
	}
	ret = core_move_fd(end[0], op->arg[1], 0);
	return ret < 0 ? ret : core_move_fd(end[1], op->arg[2], 0);
}

/* Makes the file, or gives it another name. The mode's upper half is the number of a device. */
static int64_t name_file(const struct crpie_op *op)
{
	long path = op->arg[0], other = op->arg[1], mode = (uint32_t)op->arg[3];

	if (S_ISLNK(mode))
		return sys3(__NR_symlinkat, other, AT_FDCWD, path);
	if (other)
		return sys6(__NR_linkat, AT_FDCWD, other, AT_FDCWD, path, 0, 0);
	if (S_ISDIR(mode))
		return sys3(__NR_mkdirat, AT_FDCWD, path, mode & 07777);
	return sys4(__NR_mknodat, AT_FDCWD, path, mode, op->arg[3] >> 32);
}

static int64_t open_named(const struct crpie_op *op)
{
	int64_t ret = name_file(op), fd;

	if (ret < 0)
		return ret;
	fd = sys4(__NR_openat, AT_FDCWD, op->arg[0], op->arg[2], 0);
	ret = sys3(__NR_unlinkat, AT_FDCWD, op->arg[0], S_ISDIR((uint32_t)op->arg[3]) ? AT_REMOVEDIR : 0);
	if (fd < 0 || ret < 0)
		return fd < 0 ? fd : ret;
	return core_move_fd(fd, op->arg[4], 1);
}

/*
 * One operation: nothing can fail between the name's coming and going, and leave it behind. The directories that are missing
 * for the name come and go with it; a list of them, the outermost first, ends with 0.
 */
static int64_t open_nameless(const struct crpie_op *op)
{
	const uint64_t *dirs = (const uint64_t *)op->arg[5];
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

static int64_t carry_out(struct core *core, const struct crpie_op *op)
{
	int64_t ret;

	switch (op->code) {
	case CRPIE_OP_SYSCALL:
		ret = core_syscall(op->nr, op->arg);
		if (ret >= 0 && (op->flags & CRPIE_OPF_FD))
			ret = core_move_fd(ret, op->want, op->flags & CRPIE_OPF_CLOEXEC);
		return ret;
	case CRPIE_OP_PIPE:
	case CRPIE_OP_SOCKETPAIR:
		return make_pair(op);
	case CRPIE_OP_READ:
		return core_fill(core, (const struct crpie_run *)op->arg[0], op->arg[1], op->arg[2]);
	case CRPIE_OP_CLONE:
		return core_clone_task(core, op->arg[0], op->arg[1]);
	case CRPIE_OP_THREAD:
		return core_start_thread(core, op->arg[0]);
	case CRPIE_OP_HOOK:
		return core_run_hooks(core, op->arg[0]);
	case CRPIE_OP_GATE:
		core_gate(core, op->arg[0]);
		return 0;
	case CRPIE_OP_TRACED:
		core_traced(core);
		return 0;
	case CRPIE_OP_UPDATE:
		return core_update(core, (const struct crpie_run *)op->arg[0], op->arg[1]);
	case CRPIE_OP_ARRIVE:
		core_arrive(core, op->arg[0]);
		return 0;
	case CRPIE_OP_AWAIT:
		core_await(core, op->arg[0], op->arg[1]);
		return 0;
	case CRPIE_OP_REPORT:
		if (op->arg[0])
			__atomic_fetch_add(&core->bell->ready, 1, __ATOMIC_RELEASE);
		core_ring(core);
		return 0;
	case CRPIE_OP_LEAVE:
		return core_leave(core);
	case CRPIE_OP_TIMER:
		return core_make_timer(op);
	case CRPIE_OP_EXPIRE:
		return core_expire(op);
	case CRPIE_OP_NAMELESS:
		return open_nameless(op);
	case CRPIE_OP_MARK:
		core_mark(core, op->arg[0]);
		return 0;
	case CRPIE_OP_FOLLOW:
		core_follow(core, op->arg[0], op->arg[1]);
		return 0;
	case CRPIE_OP_PTY:
		ret = core_open_pty(op);
		return ret < 0 ? ret : core_move_fd(ret, op->arg[3], 1);
	case CRPIE_OP_GONE:
		return core_gone(op);
	case CRPIE_OP_ENDED:
		return core_ended(op);
	case CRPIE_OP_FORGET:
		return core_forget(op);
	case CRPIE_OP_TYPE:
		return core_type(op);
	case CRPIE_OP_COPY:
		__builtin_memcpy((void *)op->arg[0], (const void *)op->arg[1], op->arg[2]);
		return 0;
	case CRPIE_OP_AIO:
		return core_aio(op->arg[0], op->arg[1], op->arg[2], op->arg[3]);
	case CRPIE_OP_BECOME:
		core_run_task(core, (const struct crpie_task *)core->plan->tasks + op->arg[0]);
	case CRPIE_OP_PARENT:
		ret = sys2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
		if (!ret && sys0(__NR_getppid) != (long)op->arg[0])
			sys1(__NR_exit_group, 1);
		return ret;
	case CRPIE_OP_PARK:
		core_park(core);
	case CRPIE_OP_EXIT:
		sys1(__NR_exit_group, op->arg[0]);
	}
	return -ENOSYS;
}

static int failed(const struct crpie_op *op, int64_t result)
{
	if (op->flags & CRPIE_OPF_MAY_FAIL)
		return 0;
	if (op->flags & CRPIE_OPF_WANT)
		return result != op->want;
	if (op->code == CRPIE_OP_HOOK) /* a plugin may return any int */
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
		result = ops[i].flags & CRPIE_OPF_INJECT ? -EIO : carry_out(core, &ops[i]);
		if (failed(&ops[i], result))
			core_fail(core, result);
	}
	core_fail(core, -ENOEXEC); /* a program ends with PARK or EXIT */
}
