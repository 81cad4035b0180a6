/* SPDX-License-Identifier: Apache-2.0 */
/* where: says at TASK_CREATED in which namespaces a task is: the pid that the kernel gives it, and its host name. */
#include <crpie/log.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

struct names {
	char sysname[65], nodename[65], rest[4][65];
};

static int where(struct crpie_ctx *ctx)
{
	struct names names;

	if (CRPIE_SYS1(__NR_uname, &names) != 0)
		return -EIO;
	pr_info(ctx, "pid %d of %d on %s", (int)CRPIE_SYS0(__NR_getpid), ctx->pid, names.nodename);
	return 0;
}

CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, where)
CR_PLUGIN_REGISTER_DUMMY("where")
