// SPDX-License-Identifier: Apache-2.0
/* Descriptors of processes that are gone: they can only be had of ones that are there. */
#include "core.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>

struct wanted {
	uint32_t number, flags;
};

static int64_t open_all(int64_t pid, const struct wanted *wanted, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		int64_t fd = sys2(__NR_pidfd_open, pid, wanted[i].flags);
		int64_t ret = fd < 0 ? fd : core_move_fd(fd, wanted[i].number, 1);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int64_t core_gone(const struct crpie_op *op)
{
	struct clone_args args = { 0 };
	int64_t pid = sys2(__NR_clone3, (long)&args, sizeof(args)), ret, waited;

	if (pid == 0)
		for (;;)
			sys1(__NR_exit_group, 0);
	if (pid < 0)
		return pid;
	ret = open_all(pid, (const struct wanted *)op->arg[1], op->arg[0]);
	waited = sys4(__NR_wait4, pid, 0, __WALL, 0);
	return ret < 0 ? ret : waited < 0 ? waited : 0;
}

struct file {
	uint64_t path, flags, number;
};

static int64_t open_files(const struct file *files, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		int64_t fd = sys4(__NR_openat, AT_FDCWD, files[i].path, files[i].flags, 0);
		int64_t ret = fd < 0 ? fd : core_move_fd(fd, files[i].number, 1);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* One operation: a failure leaves no process behind. */
int64_t core_ended(const struct crpie_op *op)
{
	int32_t set_tid = op->arg[0];
	struct clone_args args = { .set_tid = (uint64_t)&set_tid, .set_tid_size = 1 };
	int64_t pid, ret, waited;
	int tries = 0;

	do
		pid = sys2(__NR_clone3, (long)&args, sizeof(args));
	while (core_wait_for_id(pid, &tries));
	if (pid == 0)
		for (;;)
			sys1(__NR_exit_group, 0);
	if (pid < 0)
		return pid;
	ret = open_files((const struct file *)op->arg[2], op->arg[1]);
	if (ret == 0 && op->arg[3])
		ret = sys1(__NR_chdir, op->arg[3]);
	waited = sys4(__NR_wait4, pid, 0, __WALL, 0);
	return ret < 0 ? ret : waited < 0 ? waited : 0;
}
