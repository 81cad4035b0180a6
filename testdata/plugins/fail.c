/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail: goes wrong where it is told to. fail.o,stage=POST_FILES,how=error
 *
 *	stage=NAME   a stage without its CR_PLUGIN_HOOK__PIE_RST_ prefix
 *	tid=N        only in that thread
 *	clone=N,only=M only if both are the same
 *	how=error    returns -errno=N (default 5, EIO)
 *	how=positive returns 1
 *	how=low      returns -5000, less than any errno
 *	how=notsup   returns -ENOTSUP, which is not a failure
 *	how=null     writes to address 0
 *	how=ud2      runs an undefined instruction
 *	how=stack    recurses until the stack is full
 *	how=leap     the same, with large frames that are touched at their low end
 *	how=hang     never returns
 *	how=exit     ends the task with status 7
 *	how=exit1    ends the thread alone, with status 7
 *	how=exec     executes /bin/true
 *	how=fork     leaves a process behind and returns -EIO
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static int grow(volatile char *above)
{
	volatile char page[4096];

	page[0] = above[0];
	if (page[0] != 0)
		return 0; /* never: the first one is 0 */
	return grow(page) + page[0];
}

static __attribute__((noinline)) int leap(volatile char *above)
{
	volatile char frame[100 << 10];

	frame[0] = above[0];
	if (frame[0] != 0)
		return 0; /* never */
	return leap(frame) + frame[0];
}

static void crash_null(void)
{
	volatile int *nowhere = NULL;

	__asm__("" : "+r"(nowhere)); /* so that no compiler sees the constant and traps instead */
	*nowhere = 1;
}

static void execute(void)
{
	char path[] = "/bin/true", *argv[] = { path, NULL };

	CRPIE_SYS3(__NR_execve, path, argv, argv + 1);
}

/* Two generations: the parent of the younger one is not a task of the plan. */
static void leave_child(void)
{
	if (CRPIE_SYS5(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0) != 0)
		return;
	CRPIE_SYS5(__NR_clone, 17, 0, 0, 0, 0);
	for (;;)
		CRPIE_SYS0(__NR_sched_yield);
}

static int fail_now(const struct crpie_ctx *ctx)
{
	const char *how = crpie_param(ctx, "how");
	volatile char first = 0;
	uint64_t err = EIO, tid = 0;

	if (crpie_param_u64(ctx, "tid", 1, INT32_MAX, &tid) == 0 && ctx->tid != (int)tid)
		return 0;
	if (crpie_param(ctx, "only") != NULL && crpie_strcmp(crpie_param(ctx, "only"), crpie_param(ctx, "clone")) != 0)
		return 0;
	if (how == NULL)
		how = "error";
	pr_info(ctx, "%s in task %d", how, ctx->pid);
	if (crpie_strcmp(how, "notsup") == 0)
		return -ENOTSUP;
	if (crpie_strcmp(how, "positive") == 0)
		return 1;
	if (crpie_strcmp(how, "low") == 0)
		return -5000;
	if (crpie_strcmp(how, "null") == 0)
		crash_null();
	if (crpie_strcmp(how, "ud2") == 0)
		__builtin_trap();
	if (crpie_strcmp(how, "stack") == 0)
		return grow(&first);
	if (crpie_strcmp(how, "leap") == 0)
		return leap(&first);
	if (crpie_strcmp(how, "exit") == 0)
		CRPIE_SYS1(__NR_exit_group, 7);
	if (crpie_strcmp(how, "exit1") == 0)
		CRPIE_SYS1(__NR_exit, 7);
	if (crpie_strcmp(how, "exec") == 0)
		execute();
	if (crpie_strcmp(how, "fork") == 0)
		leave_child();
	while (crpie_strcmp(how, "hang") == 0)
		CRPIE_OPAQUE(how);
	crpie_param_u64(ctx, "errno", 1, 4095, &err);
	return -(int)err;
}

#define FAIL_AT(name)                                                                                                  \
	static int fail_##name(struct crpie_ctx *ctx)                                                                  \
	{                                                                                                              \
		const char *stage = crpie_param(ctx, "stage");                                                         \
                                                                                                                       \
		return stage != NULL && crpie_strcmp(stage, #name) == 0 ? fail_now(ctx) : 0;                           \
	}                                                                                                              \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_##name, fail_##name)

FAIL_AT(TASK_CREATED)
FAIL_AT(POST_MEMORY)
FAIL_AT(POST_FILES)
FAIL_AT(POST_THREADS)
FAIL_AT(PRE_CREDS)
FAIL_AT(PRE_SIGRETURN_THREAD)
FAIL_AT(PRE_SIGRETURN)

CR_PLUGIN_REGISTER_DUMMY("fail")
