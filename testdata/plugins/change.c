/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change: changes one thing of each kind, and is a nuisance then if it is told.
 *
 *	symbol=NAME  a variable of 4 bytes of the program, which it counts up
 *	keep=NAME    a variable of 8 bytes, in which it leaves the address of its own data
 *	var=NAME     a variable in the environment, whose value it overwrites with x
 *	then=null    writes to address 0 afterwards
 *	then=hang    never returns
 *	then=error   returns -EIO
 */
#include <crpie/env.h>
#include <crpie/syscall.h>

#include "../../plugin-sdk/examples/target.h"

static char own[64] = "the plugin's own";

static int count_up(const struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	int err = crpie_param(ctx, "symbol") == NULL ? 0 : target(ctx, &sym);

	if (sym.addr != 0)
		++*(int *)(uintptr_t)sym.addr;
	return err;
}

static int keep(const struct crpie_ctx *ctx, const char *name)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	int err = name == NULL ? 0 : target_named(ctx, name, &sym);

	if (sym.addr != 0)
		*(char **)(uintptr_t)sym.addr = own;
	return err;
}

static int overwrite(const struct crpie_ctx *ctx, const char *name)
{
	struct crpie_env env;
	int err = name == NULL ? -ENOENT : crpie_env_find(ctx, name, &env);

	for (size_t i = 0; err == 0 && i < env.value_len; i++)
		env.value[i] = 'x';
	return err == -ENOENT ? 0 : err;
}

/* What the kernel has of a process. */
static void ask_kernel(void)
{
	unsigned long ignore[4] = { 1 /* SIG_IGN */ }, limit[2] = { 0, 64 };
	char root[] = "/", null[] = "/dev/null";

	CRPIE_SYS4(__NR_rt_sigaction, 12 /* SIGUSR2 */, ignore, 0, 8);
	CRPIE_SYS4(__NR_prlimit64, 0, 4 /* RLIMIT_CORE */, limit, 0);
	CRPIE_SYS1(__NR_chdir, root);
	CRPIE_SYS4(__NR_openat, -100 /* AT_FDCWD */, null, 2 /* O_RDWR */, 0);
	CRPIE_SYS6(__NR_mmap, 0, 3 * 4096, 1 /* PROT_READ */, 0x22 /* private, anonymous */, -1, 0);
}

static int nuisance(const struct crpie_ctx *ctx)
{
	volatile int *nowhere = NULL;
	const char *then = crpie_param(ctx, "then");

	if (then == NULL)
		return 0;
	__asm__("" : "+r"(nowhere)); /* so that no compiler sees the constant and traps instead */
	if (crpie_strcmp(then, "null") == 0)
		*nowhere = 1;
	while (crpie_strcmp(then, "hang") == 0)
		__asm__ volatile("" ::: "memory");
	return -EIO;
}

static int change(struct crpie_ctx *ctx)
{
	int err = count_up(ctx);

	if (err == 0)
		err = keep(ctx, crpie_param(ctx, "keep"));
	if (err == 0)
		err = overwrite(ctx, crpie_param(ctx, "var"));
	if (err != 0)
		return err;
	ask_kernel();
	return nuisance(ctx);
}

CR_PLUGIN_REGISTER_DUMMY("change")
CRPIE_PARAM_STR("keep", CRPIE_OPTIONAL, "name of a variable of 8 bytes")
CRPIE_PARAM_STR("var", CRPIE_OPTIONAL, "name of an environment variable")
CRPIE_PARAM_ENUM("then", CRPIE_OPTIONAL, "null hang error", "what goes wrong afterwards")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, change)
