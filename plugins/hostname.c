/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostname: gives the UTS namespace of the restored tasks another host name. docs/plugins.md has the limits.
 *
 *	crpie restore -D images --pie-plugin hostname.o,name=web-2
 *	crpie restore -D images --pie-plugin hostname.o,name=@task:/etc/hostname
 *
 * The name is that of everybody in the namespace. It is refused where the machine, pid 1 or the parent of the first
 * task has it, too: that is where crpie's is. shared=ok sets it all the same.
 */
#include "ready.h"

#define NAME_MAX 64 /* HOST_NAME_MAX, gethostname(2) */

/* PROC_UTS_INIT_INO of <linux/proc_ns.h>: the number of the UTS namespace that the kernel started with. */
#define MACHINES "uts:[4026531838]"

static int first; /* pid of the task in which hooks began; its children are copies of it, with this value */

static int begin(struct crpie_ctx *ctx)
{
	if (first == 0)
		first = ctx->pid;
	return 0;
}

static int namespace_of(const char *process, char *buf, size_t size)
{
	char path[48];
	long len;

	crpie_snprintf(path, sizeof(path), "/proc/%s/ns/uts", process);
	len = sys_readlinkat(-100 /* AT_FDCWD */, path, buf, size - 1);
	if (len < 0)
		return (int)len;
	buf[len] = '\0';
	return 0;
}

/* 1 if the process has the namespace own, or if that cannot be seen: said in either case. */
static int shared_with(const struct crpie_ctx *ctx, int pid, const char *whose, const char *own)
{
	char process[16], theirs[32];
	int err;

	crpie_snprintf(process, sizeof(process), "%d", pid);
	err = namespace_of(process, theirs, sizeof(theirs));
	if (err == 0 && crpie_strcmp(own, theirs) != 0)
		return 0;
	if (err == 0)
		pr_err(ctx,
		       "%s, pid %d, has the same UTS namespace, and the name would be its name, too: restore what was "
		       "dumped in a UTS namespace of its own, or give --join-ns uts:FILE; shared=ok sets it all the "
		       "same",
		       whose, pid);
	else
		pr_perror(ctx, err, "/proc/%d/ns/uts, which would say whose the namespace is; shared=ok does not ask",
			  pid);
	return 1;
}

/* The parent of the first task was not restored: it is crpie, or who has started it, or 0 in another pid namespace. */
static int is_shared(const struct crpie_ctx *ctx)
{
	char own[32];
	int err = namespace_of("self", own, sizeof(own)), parent = sys_getppid();

	if (err != 0) {
		pr_perror(ctx, err,
			  "/proc/self/ns/uts, which would say whose the namespace is; shared=ok does not ask");
		return 1;
	}
	if (crpie_strcmp(own, MACHINES) == 0) {
		pr_err(ctx,
		       "the UTS namespace is the machine's, and the name would be the machine's, too: restore what "
		       "was dumped in a UTS namespace of its own, or give --join-ns uts:FILE; shared=ok sets it "
		       "all the same");
		return 1;
	}
	return (ctx->pid != 1 && shared_with(ctx, 1, "the first process", own)) ||
	       (parent > 1 && shared_with(ctx, parent, "the parent", own));
}

static int set_name(struct crpie_ctx *ctx)
{
	char name[NAME_MAX + 1];
	long err;

	if (first != ctx->pid)
		return -ENOTSUP; /* it has the first one's namespace */
	err = crpie_param_read(ctx, "name", name, sizeof(name));
	if (err == CRPIE_PARAM_TOOLONG)
		pr_err(ctx, "the name is longer than 64 bytes, which sethostname(2) refuses");
	if (err != 0)
		return (int)err;
	if (crpie_param(ctx, "shared") == NULL && is_shared(ctx))
		return -EPERM;
	err = sys_sethostname(name, crpie_strlen(name));
	if (err != 0)
		pr_perror(ctx, err, "sethostname");
	else
		pr_info(ctx, "the host name is %s", name);
	return (int)err;
}

CR_PLUGIN_REGISTER_DUMMY("hostname")
CRPIE_PARAM_STR("name", CRPIE_REQUIRED | CRPIE_IN_TASK, "the host name, at most 64 bytes")
CRPIE_PARAM_ENUM("shared", CRPIE_OPTIONAL, "ok", "set it also where processes outside have the namespace")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, begin)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, set_name)
