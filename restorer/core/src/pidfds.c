// SPDX-License-Identifier: Apache-2.0
/* Descriptors of processes that have exited: the kernel gives them only while the process exists. */
#include "core.h"
#include "syscall.h"

#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>

static int64_t open_pidfds(int64_t pid, const struct crpie_pidfd *pidfds, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		int64_t fd = sys2(__NR_pidfd_open, pid, pidfds[i].flags);
		int64_t ret = fd < 0 ? fd : core_move_fd(fd, pidfds[i].fd, 1);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int64_t core_open_exited_pidfds(const struct crpie_op *op)
{
	struct clone_args args = { 0 };
	int64_t pid = sys2(__NR_clone3, (long)&args, sizeof(args)), ret, waited;

	if (pid == 0)
		for (;;)
			sys1(__NR_exit_group, 0);
	if (pid < 0)
		return pid;
	ret = open_pidfds(pid, (const struct crpie_pidfd *)op->open_exited_pidfds.pidfds, op->open_exited_pidfds.nr);
	waited = sys4(__NR_wait4, pid, 0, __WALL, 0);
	return ret < 0 ? ret : waited < 0 ? waited : 0;
}

static int64_t open_files(const struct crpie_file *files, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++) {
		int64_t fd = sys4(__NR_openat, AT_FDCWD, files[i].path, files[i].flags, 0);
		int64_t ret = fd < 0 ? fd : core_move_fd(fd, files[i].fd, 1);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* One operation: a failure leaves no process behind. */
int64_t core_open_exited_proc(const struct crpie_op *op)
{
	int32_t set_tid = op->open_exited_proc.pid;
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
	ret = open_files((const struct crpie_file *)op->open_exited_proc.files, op->open_exited_proc.nr);
	if (ret == 0 && op->open_exited_proc.cwd)
		ret = sys1(__NR_chdir, op->open_exited_proc.cwd);
	waited = sys4(__NR_wait4, pid, 0, __WALL, 0);
	return ret < 0 ? ret : waited < 0 ? waited : 0;
}
