/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disturb: counts up variables of 4 bytes, and does what makes it hard to find them.
 *
 *	symbol=NAME, addr=N     of the program
 *	also=NAME               another one
 *	what=fork               leaves a process behind that waits
 *	what=move               moves the page at 0x610000000000 to 0x620000000000, over that one
 *	what=read               reads 4 bytes from the descriptors 8 and 9
 *	what=undo               gives the kernel addresses of its own, and takes them back
 *	what=altstack           gives it one, and leaves it
 */
#include <crpie/syscall.h>

#include "../../plugin-sdk/examples/target.h"

static char stack[32768];

static void count_up(uint64_t addr)
{
	if (addr != 0)
		++*(volatile int *)(uintptr_t)addr;
}

static int count_also(const struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	const char *name = crpie_param(ctx, "also");
	int err = name == NULL ? 0 : target_named(ctx, name, &sym);

	count_up(sym.addr);
	return err;
}

static void leave_process(void)
{
	if (sys_fork(17 /* SIGCHLD */) == 0)
		for (;;)
			CRPIE_SYS4(__NR_ppoll, 0, 0, 0, 0);
}

static void read_some(void)
{
	char buf[4];

	CRPIE_SYS3(__NR_read, 8, buf, sizeof(buf));
	CRPIE_SYS3(__NR_read, 9, buf, sizeof(buf));
}

static void alternate_stack(void *old)
{
	struct {
		void *sp;
		int flags;
		uint64_t size;
	} own = { stack, 0, sizeof(stack) };

	CRPIE_SYS2(__NR_sigaltstack, &own, old);
}

static void undo(void)
{
	const uint64_t own = (uint64_t)(uintptr_t)stack;
	uint64_t list, size, old[4], old_action[4];
	uint64_t action[4] = { own, 0x04000000 /* SA_RESTORER */, own, 0 }, small[3] = { own, 0, 1 };

	alternate_stack(old);
	CRPIE_SYS2(__NR_sigaltstack, old, 0);
	CRPIE_SYS2(__NR_sigaltstack, small, 0); /* ENOMEM */
	CRPIE_SYS3(__NR_get_robust_list, 0, &list, &size);
	CRPIE_SYS2(__NR_set_robust_list, stack, 24);
	CRPIE_SYS2(__NR_set_robust_list, list, size);
	CRPIE_SYS4(__NR_rseq, stack, 32, 0, 0x53053053); /* EBUSY, EINVAL */
	CRPIE_SYS4(__NR_rt_sigaction, 12 /* SIGUSR2 */, action, old_action, 8);
	CRPIE_SYS4(__NR_rt_sigaction, 12, old_action, 0, 8);
}

static int disturb(struct crpie_ctx *ctx)
{
	const char *what = crpie_param(ctx, "what");
	struct crpie_symbol sym = { 0, 0, 0 };
	int err = target(ctx, &sym);

	if (err != 0 && err != CRPIE_PARAM_NOTFOUND)
		return err;
	count_up(sym.addr);
	err = count_also(ctx);
	if (err != 0 || what == NULL)
		return err;
	if (crpie_strcmp(what, "fork") == 0)
		leave_process();
	if (crpie_strcmp(what, "move") == 0)
		CRPIE_SYS5(__NR_mremap, 0x610000000000, 4096, 4096, 3 /* MAYMOVE, FIXED */, 0x620000000000);
	if (crpie_strcmp(what, "read") == 0)
		read_some();
	if (crpie_strcmp(what, "altstack") == 0)
		alternate_stack(NULL);
	if (crpie_strcmp(what, "undo") == 0)
		undo();
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("disturb")
CRPIE_PARAM_STR("also", CRPIE_OPTIONAL, "another symbol")
CRPIE_PARAM_ENUM("what", CRPIE_OPTIONAL, "fork move read undo altstack", "what it does besides")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, disturb)
