/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stages: changes one thing at each stage of a restore.
 *
 *	symbol=NAME  a variable of 4 bytes of the program, which each hook counts up that finds memory
 *	keep=NAME    a variable of 8 bytes, in which it leaves the address of its own data
 *	fail=1       fails at last
 */
#include <crpie/syscall.h>

#include "../../plugin-sdk/examples/target.h"

static char own[64] = "the plugin's own";

static int count_up(const struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	int err = target(ctx, &sym);

	if (err == 0)
		__atomic_fetch_add((int *)(uintptr_t)sym.addr, 1, __ATOMIC_SEQ_CST);
	return err;
}

/* A limit, which the restore sets again. */
static int created(struct crpie_ctx *ctx)
{
	unsigned long limit[2] = { 0, 0 };

	(void)ctx;
	CRPIE_SYS4(__NR_prlimit64, 0, 4 /* RLIMIT_CORE */, 0, limit);
	limit[0] = 64;
	return (int)CRPIE_SYS4(__NR_prlimit64, 0, 4 /* RLIMIT_CORE */, limit, 0);
}

static int memory(struct crpie_ctx *ctx)
{
	return count_up(ctx);
}

static int files(struct crpie_ctx *ctx)
{
	char null[] = "/dev/null";
	long fd = CRPIE_SYS4(__NR_openat, -100 /* AT_FDCWD */, null, 2 /* O_RDWR */, 0);

	(void)ctx;
	return fd < 0 ? (int)fd : 0;
}

static int threads(struct crpie_ctx *ctx)
{
	(void)ctx;
	CRPIE_SYS1(__NR_umask, 0123);
	return 0;
}

/* A handler that is unmapped with the plugin. */
static int creds(struct crpie_ctx *ctx)
{
	unsigned long action[4] = { (unsigned long)own };

	(void)ctx;
	return (int)CRPIE_SYS4(__NR_rt_sigaction, 12 /* SIGUSR2 */, action, 0, 8);
}

/* System calls overwrite r11. */
static int thread(struct crpie_ctx *ctx)
{
	ctx->regs->r11 = 4711;
	return count_up(ctx);
}

static int last(struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	const char *name = crpie_param(ctx, "keep");
	int err = name == NULL ? 0 : target_named(ctx, name, &sym);

	if (sym.addr != 0)
		*(char **)(uintptr_t)sym.addr = own;
	CRPIE_SYS6(__NR_mmap, 0, 3 * 4096, 1 /* PROT_READ */, 0x22 /* private, anonymous */, -1, 0);
	if (err != 0)
		return err;
	return crpie_param(ctx, "fail") ? -EIO : 0;
}

CR_PLUGIN_REGISTER_DUMMY("stages")
CRPIE_PARAM_STR("keep", CRPIE_OPTIONAL, "name of a variable of 8 bytes")
CRPIE_PARAM_BOOL("fail", CRPIE_OPTIONAL, "whether the last hook fails")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED, created)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, memory)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, files)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_THREADS, threads)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, creds)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, thread)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, last)
