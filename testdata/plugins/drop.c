/* SPDX-License-Identifier: Apache-2.0 */
/* drop: closes a descriptor as soon as there are some, or puts another in its place. drop.o,pid=N,fd=N[,with=N] */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static int drop(struct crpie_ctx *ctx)
{
	uint64_t pid, fd, with;

	if (crpie_param_u64(ctx, "pid", 1, 1 << 30, &pid) != 0 || crpie_param_u64(ctx, "fd", 0, 1 << 30, &fd) != 0)
		return -EINVAL;
	if ((uint64_t)ctx->pid != pid)
		return -ENOTSUP;
	if (crpie_param_u64(ctx, "with", 0, 1 << 30, &with) == 0)
		return CRPIE_SYS3(__NR_dup3, with, fd, 0) < 0 ? -EBADF : 0;
	return sys_close(fd);
}

CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, drop)
CR_PLUGIN_REGISTER_DUMMY("drop")
