/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rampage: does to its own process, or to the restore, what no hook should. rampage.o,stage=PRE_CREDS,how=close
 *
 *	stage=NAME   a stage without its CR_PLUGIN_HOOK__PIE_RST_ prefix; the root task alone
 *	how=close    closes all descriptors
 *	how=unmap    unmaps the memory in which the task reports; how=protect makes it inaccessible
 *	how=plan     unmaps the plan; how=control what the controller tells; how=bell the bell; how=all everything
 *	how=kill     kills the task; how=killthread the thread, by SIGKILL
 *	how=stop     stops itself; how=abort unblocks all signals and sends SIGABRT
 *	how=cpu      allows itself no CPU time; how=space no address space; how=files no descriptor
 *	how=user     becomes user 1234; how=strict allows itself read, write and exit alone, seccomp(2)
 *	how=chroot   changes its root directory to /proc; how=time unshares the time namespace
 *	how=forks    leaves 200 processes; how=session starts one that leads a session; how=orphan one without a parent
 *	how=flood    logs without end; how=long logs a line of 10 MB
 *	then=error   returns -EIO afterwards
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

#include "core.h"

#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#define SIGABRT 6
#define SIGKILL 9
#define SIGCHLD 17
#define SIGSTOP 19

static void unmap(uint64_t from, uint64_t to)
{
	CRPIE_SYS2(__NR_munmap, from, to - from);
}

static void limit(int resource)
{
	uint64_t none[2] = { 0, 0 };

	CRPIE_SYS4(__NR_prlimit64, 0, resource, none, NULL);
}

/* depth 1: a child that stays; 2: its child, whose parent is gone */
static void leave(int depth, int session)
{
	if (CRPIE_SYS5(__NR_clone, SIGCHLD, 0, 0, 0, 0) != 0)
		return;
	if (session)
		CRPIE_SYS0(__NR_setsid);
	if (depth > 1 && CRPIE_SYS5(__NR_clone, SIGCHLD, 0, 0, 0, 0) != 0)
		CRPIE_SYS1(__NR_exit_group, 0);
	for (;;)
		CRPIE_SYS0(__NR_pause);
}

static char line[10 << 20];

static int rampage(const struct crpie_ctx *ctx)
{
	const struct core *core = (const struct core *)ctx->reserved[0];
	const struct crpie_plan *plan = core->plan;
	const char *how = crpie_param(ctx, "how");
	uint64_t none = 0, i = 0;

#define HOW(name) else if (crpie_strcmp(how, #name) == 0)
	if (ctx->pid != ((const struct crpie_task *)plan->tasks)->pid || ctx->tid != ctx->pid)
		return 0;
	HOW (close)
		CRPIE_SYS3(__NR_close_range, 0, ~0U, 0);
	HOW (unmap)
		unmap(plan->shared, plan->control);
	HOW (protect)
		CRPIE_SYS3(__NR_mprotect, plan->shared, plan->shared_size, PROT_NONE);
	HOW (plan)
		unmap((uint64_t)plan & ~4095UL, plan->region_end);
	HOW (control)
		unmap(plan->control, plan->bell);
	HOW (bell)
		unmap(plan->bell, plan->bell + 4096);
	HOW (all)
		unmap(plan->region_start, plan->region_end);
	HOW (kill)
		CRPIE_SYS2(__NR_kill, ctx->pid, SIGKILL);
	HOW (killthread)
		CRPIE_SYS3(__NR_tgkill, ctx->pid, ctx->tid, SIGKILL);
	HOW (stop)
		CRPIE_SYS2(__NR_kill, ctx->pid, SIGSTOP);
	HOW (abort) {
		CRPIE_SYS4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, 8);
		CRPIE_SYS2(__NR_kill, ctx->pid, SIGABRT);
	}
	HOW (cpu)
		for (limit(RLIMIT_CPU);;)
			CRPIE_SYS0(__NR_getpid);
	HOW (space)
		limit(RLIMIT_AS);
	HOW (files)
		limit(RLIMIT_NOFILE);
	HOW (user) {
		CRPIE_SYS3(__NR_setresgid, 1234, 1234, 1234);
		CRPIE_SYS3(__NR_setresuid, 1234, 1234, 1234);
	}
	HOW (strict)
		CRPIE_SYS2(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	HOW (chroot)
		CRPIE_SYS1(__NR_chroot, "/proc");
	HOW (time)
		CRPIE_SYS1(__NR_unshare, CLONE_NEWTIME);
	HOW (forks)
		for (i = 0; i < 200; i++)
			leave(1, 0);
	HOW (session)
		leave(1, 1);
	HOW (orphan)
		leave(2, 1);
	HOW (flood)
		for (;;)
			pr_err(ctx, "flood %d", (int)i++);
	HOW (long) {
		__builtin_memset(line, 'x', sizeof(line));
		ctx->log(ctx, 1, line, sizeof(line));
	}
	return crpie_param(ctx, "then") ? -EIO : 0;
}

#define RAMPAGE_AT(name)                                                                                               \
	static int rampage_##name(struct crpie_ctx *ctx)                                                               \
	{                                                                                                              \
		return crpie_strcmp(crpie_param(ctx, "stage"), #name) == 0 ? rampage(ctx) : 0;                         \
	}                                                                                                              \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_##name, rampage_##name)

RAMPAGE_AT(TASK_CREATED)
RAMPAGE_AT(POST_MEMORY)
RAMPAGE_AT(POST_FILES)
RAMPAGE_AT(POST_THREADS)
RAMPAGE_AT(PRE_CREDS)
RAMPAGE_AT(PRE_SIGRETURN_THREAD)
RAMPAGE_AT(PRE_SIGRETURN)

CR_PLUGIN_REGISTER_DUMMY("rampage")
