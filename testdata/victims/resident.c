/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of three threads that carries hooks itself. It prints what ran, in which order; nothing but that differs.
 * With an argument a hook fails in that way, or the array is damaged before the dump; "filter" installs a seccomp filter.
 */
#include "victim.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <crpie/resident.h>

int victim_failures;
static volatile int order[8], runs, of_threads;
static const char *mode = "";
static volatile uintptr_t low = 8;
static pthread_barrier_t begun;

static int note(struct crpie_ctx *ctx, int what)
{
	int i = __atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);

	order[i & 7] = what;
	ctx->log(ctx, CRPIE_LOG_INFO, "resident hook", 13);
	return ctx->pid == getpid() && ctx->nr_params == 0 && ctx->nr_vmas > 0 ? 0 : -EINVAL;
}

static int first(struct crpie_ctx *ctx)
{
	return note(ctx, 1);
}

static int second(struct crpie_ctx *ctx)
{
	if (strcmp(mode, "fail") == 0)
		return -EIO;
	if (strcmp(mode, "crash") == 0)
		*(volatile int *)low = 1;
	return strcmp(mode, "notsup") == 0 ? -ENOTSUP : note(ctx, 2);
}

static int of_thread(struct crpie_ctx *ctx)
{
	if (ctx->tid != gettid())
		return -EINVAL;
	__atomic_fetch_add(&of_threads, 1, __ATOMIC_SEQ_CST);
	return 0;
}

CRIU_HOOKS = {
	CRIU_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, second, 5),
	CRIU_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, first, -5),
	CRIU_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, of_thread),
	CRIU_HOOKS_END,
};

/* Each makes the second record one that nobody may believe. */
static void damage(void)
{
	struct criu_hook *h = &criu_hooks[1];

	if (strcmp(mode, "size") == 0)
		h->size = 24;
	else if (strcmp(mode, "long") == 0)
		h->size = 1 << 20;
	else if (strcmp(mode, "abi") == 0)
		h->abi = 2;
	else if (strcmp(mode, "stage") == 0)
		h->stage = CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY;
	else if (strcmp(mode, "data") == 0)
		h->fn = (crpie_hook_fn)(uintptr_t)&runs;
	else if (strcmp(mode, "other") == 0)
		h->fn = (crpie_hook_fn)(uintptr_t)getpid;
	else if (strcmp(mode, "null") == 0)
		h->fn = NULL;
	else if (strcmp(mode, "reserved") == 0)
		h->reserved = 1;
	else if (strcmp(mode, "half") == 0)
		memset((char *)h + 8, 'x', sizeof(*h));
	else if (strcmp(mode, "empty") == 0)
		memset(criu_hooks, 0, sizeof(criu_hooks));
}

/* A filter that permits everything, in the leader only. */
static void filter(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { .len = 1, .filter = code };

	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static void *sleeper(void *go)
{
	pthread_barrier_wait(&begun);
	pthread_barrier_wait(go);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_barrier_t go;
	pthread_t thread[2];

	victim_begin();
	if (argc > 1)
		mode = argv[1];
	damage();
	pthread_barrier_init(&begun, NULL, 3);
	pthread_barrier_init(&go, NULL, 3);
	for (int i = 0; i < 2; i++)
		MUST(pthread_create(&thread[i], NULL, sleeper, &go) == 0);
	pthread_barrier_wait(&begun);
	if (strcmp(mode, "filter") == 0)
		filter();
	victim_wait();
	pthread_barrier_wait(&go);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("hooks %d: %d %d, of threads %d\n", runs, order[0], order[1], of_threads);
	return victim_end();
}
