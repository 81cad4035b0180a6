/* SPDX-License-Identifier: Apache-2.0 */
/*
 * captured: does in a task named "worker" what somebody could who has captured it while it is restored; it knows the
 * restorer's region (restorer/core/src/core.h). captured.o,stage=PRE_SIGRETURN,how=take,flag=PATH
 *
 *	stage=NAME   a stage without its CR_PLUGIN_HOOK__PIE_RST_ prefix
 *	how=take     tries to change what other tasks carry out, then makes the file flag; the root waits for that
 *	how=sleep    the root, and only that, spends ms=N in the hook
 *	how=word     writes value=V to word=N of what the task reports: first the log's words, then its statuses
 *	how=log      fills the log with value=V and says that there is more of it
 *	how=silent   says that no hook runs, and never returns
 *	how=busy     the same, but reports something new all the time
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

#include "core.h"

#include <linux/fcntl.h>
#include <linux/mman.h>

static const struct core *core_of(const struct crpie_ctx *ctx)
{
	return (const struct core *)ctx->reserved[0];
}

static const struct crpie_thread *leader(const struct crpie_task *task)
{
	return (const struct crpie_thread *)task->threads;
}

static void nap(long ms)
{
	struct {
		long sec, nsec;
	} t = { ms / 1000, ms % 1000 * 1000000 };

	CRPIE_SYS2(__NR_nanosleep, &t, NULL);
}

/* Has the root's program end in a chown(2). That stays in this task's memory. */
static int take_plan(const struct core *core)
{
	struct crpie_plan *plan = (struct crpie_plan *)core->plan;
	const struct crpie_thread *root = leader((struct crpie_task *)plan->tasks);
	struct crpie_op *ops = (struct crpie_op *)root->ops;
	uint64_t start = (uint64_t)plan & ~4095UL, size = plan->region_end - start, path = plan->region_end - 64;
	long ret = CRPIE_SYS3(__NR_mprotect, start, size, PROT_READ | PROT_WRITE);

	if (ret < 0)
		return ret;
	__builtin_memcpy((char *)path, "secret", 7);
	for (uint64_t i = 0; i < root->nr_ops; i++)
		if (ops[i].code == CRPIE_OP_PARK)
			ops[i] = (struct crpie_op){
				.code = CRPIE_OP_SYSCALL,
				.flags = CRPIE_OPF_MAY_FAIL,
				.nr = __NR_chown,
				.arg = { path, 1234, 1234 },
			};
	return 0;
}

static int take_code(const struct core *core)
{
	struct crpie_table *table = (struct crpie_table *)core->plan->table;
	long ret = CRPIE_SYS3(__NR_mprotect, (uint64_t)table & ~4095UL, 4096, PROT_READ | PROT_WRITE);

	if (ret < 0)
		return ret;
	table->reserved = 1;
	return CRPIE_SYS3(__NR_mprotect, (uint64_t)table & ~4095UL, 4096, PROT_READ);
}

/* What the controller tells, and what lies behind it in its file, must not become writable: -EBADE if it does. */
static int take_control(const struct core *core)
{
	uint64_t at = core->plan->control;
	long more = CRPIE_SYS5(__NR_mremap, at, 0, 1 << 20, MREMAP_MAYMOVE, 0);

	if (CRPIE_SYS3(__NR_mprotect, at, 4096, PROT_READ | PROT_WRITE) == 0)
		return -EBADE;
	if (more < 0)
		return more;
	if (CRPIE_SYS3(__NR_mprotect, more, 1 << 20, PROT_READ | PROT_WRITE) == 0)
		return -EBADE;
	return CRPIE_SYS2(__NR_munmap, more, 1 << 20);
}

static void take_bell(const struct core *core)
{
	__builtin_memset(core->bell, 0xff, sizeof(*core->bell));
}

/* What is shared with other tasks must be gone: their statuses, which steer them, are not seen any more. */
static int take_shared(const struct core *core)
{
	struct crpie_status *root = &core->shared->status[leader((struct crpie_task *)core->plan->tasks)->status];

	root->state = CRPIE_STATE_FAILED;
	root->mark = ~0U;
	return 0;
}

static int take(const struct crpie_ctx *ctx)
{
	const struct core *core = core_of(ctx);
	int ret = take_plan(core);

	if (!ret)
		ret = take_code(core);
	if (!ret)
		ret = take_control(core);
	if (!ret)
		ret = take_shared(core);
	take_bell(core);
	if (!ret)
		ret = CRPIE_SYS3(__NR_open, crpie_param(ctx, "flag"), O_CREAT | O_WRONLY, 0666);
	return ret < 0 ? ret : (int)CRPIE_SYS1(__NR_close, ret);
}

static int see(const struct crpie_ctx *ctx)
{
	const struct core *core = core_of(ctx);

	while (CRPIE_SYS2(__NR_access, crpie_param(ctx, "flag"), 0) < 0)
		nap(1);
	return ((const struct crpie_table *)core->plan->table)->reserved ? -EBADE : 0;
}

static int word(const struct crpie_ctx *ctx)
{
	const struct core *core = core_of(ctx);
	uint64_t n = 0, value = 0;

	crpie_param_u64(ctx, "word", 0, 1 << 16, &n);
	crpie_param_u64(ctx, "value", 0, ~0UL, &value);
	if (n < sizeof(*core->shared) / 8)
		((uint64_t *)core->shared)[n] = value;
	else
		((uint64_t *)core->status)[n - sizeof(*core->shared) / 8] = value;
	nap(20); /* the controller looks every few milliseconds */
	return 0;
}

static int fill_log(const struct crpie_ctx *ctx)
{
	const struct core *core = core_of(ctx);
	uint64_t *ring = (uint64_t *)((char *)core->shared + core->plan->log_off), value = 0;

	crpie_param_u64(ctx, "value", 0, ~0UL, &value);
	for (uint64_t i = 0; i < core->plan->log_size / 8; i++)
		ring[i] = value;
	core->shared->log_head += 4 * core->plan->log_size + 3;
	return 0;
}

static void hang(const struct crpie_ctx *ctx, int busy)
{
	struct crpie_status *status = core_of(ctx)->status;

	for (status->hook = 0;; status->hook_seq += busy)
		nap(1);
}

static int act(const struct crpie_ctx *ctx)
{
	const char *how = crpie_param(ctx, "how");
	int worker = crpie_strcmp(ctx->comm, "worker") == 0;
	uint64_t ms = 0;

	if (crpie_strcmp(how, "take") == 0)
		return worker ? take(ctx) : see(ctx);
	if (crpie_strcmp(how, "sleep") == 0) {
		crpie_param_u64(ctx, "ms", 0, 100000, &ms);
		if (!worker)
			nap(ms);
		return 0;
	}
	if (!worker)
		return 0;
	if (crpie_strcmp(how, "word") == 0)
		return word(ctx);
	if (crpie_strcmp(how, "log") == 0)
		return fill_log(ctx);
	hang(ctx, crpie_strcmp(how, "busy") == 0);
	return -EBADE; /* never */
}

#define ACT_AT(name)                                                                                                   \
	static int act_##name(struct crpie_ctx *ctx)                                                                   \
	{                                                                                                              \
		return crpie_strcmp(crpie_param(ctx, "stage"), #name) == 0 ? act(ctx) : 0;                             \
	}                                                                                                              \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_##name, act_##name)

ACT_AT(TASK_CREATED)
ACT_AT(POST_MEMORY)
ACT_AT(POST_FILES)
ACT_AT(POST_THREADS)
ACT_AT(PRE_CREDS)
ACT_AT(PRE_SIGRETURN_THREAD)
ACT_AT(PRE_SIGRETURN)

CR_PLUGIN_REGISTER_DUMMY("captured")
