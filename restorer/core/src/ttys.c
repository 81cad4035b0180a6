// SPDX-License-Identifier: Apache-2.0
/* Terminals: what a single system call cannot do. */
#include "core.h"
#include "syscall.h"

#include <asm/ioctls.h>
#include <linux/fcntl.h>

#define HELD 1024 /* descriptors; a number above is refused by the plan */

/*
 * A new pseudo-terminal is given the lowest free number, pts(4): those below the wanted one are taken for the moment.
 * -EBUSY: it is in use.
 */
int64_t core_open_pty(const struct crpie_op *op)
{
	int held[HELD], nr_held = 0;
	unsigned int number;
	int64_t fd, ret;

	for (;;) {
		fd = sys4(__NR_openat, AT_FDCWD, op->open_pty.ptmx, op->open_pty.flags | O_NOCTTY, 0);
		if (fd < 0)
			break;
		ret = sys3(__NR_ioctl, fd, TIOCGPTN, (long)&number);
		if (ret == 0 && number == op->open_pty.number)
			break;
		held[nr_held++] = fd;
		if (ret < 0 || number > op->open_pty.number || nr_held == HELD) {
			fd = ret < 0 ? ret : -EBUSY;
			break;
		}
	}
	while (nr_held > 0)
		sys1(__NR_close, held[--nr_held]);
	return fd < 0 ? fd : core_move_fd(fd, op->open_pty.fd, 1);
}

/*
 * TIOCSTI, ioctl_tty(2), hands a byte to the line discipline at once; what is written to a master arrives some time
 * later, perhaps after the settings have changed.
 */
int64_t core_insert_input(const struct crpie_op *op)
{
	const char *bytes = (const char *)op->insert_input.bytes;
	uint64_t i;

	for (i = 0; i < op->insert_input.len; i++) {
		int64_t ret = sys3(__NR_ioctl, op->insert_input.fd, TIOCSTI, (long)&bytes[i]);

		if (ret < 0)
			return ret;
	}
	return 0;
}
