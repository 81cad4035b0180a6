/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What threads of one process may have different from each other: uids, gids and groups, capabilities, securebits,
 * names, nice values, scheduling policies and priorities, parent-death signals, no_new_privs. Made with raw system
 * calls, because libc's apply to all threads.
 */
#include "victim.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

int victim_failures;

#define THREADS 6

static const struct kind {
	const char *name;
	int policy, priority, nice, uid, gid, group, pdeathsig, noprivs, securebits;
	uint32_t caps; /* 0: all that it has */
} kinds[THREADS] = {
	{ "idle", SCHED_IDLE, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ "batch", SCHED_BATCH, 0, 7, 1001, 0, 0, SIGURG, 0, SECBIT_KEEP_CAPS, 0 },
	{ "fifo", SCHED_FIFO, 3, 0, 0, 1002, 1003, 0, 0, 0, 0 },
	{ "round robin", SCHED_RR, 9, 0, 0, 0, 0, SIGWINCH, 0, 0, 0 },
	{ "other", SCHED_OTHER, 0, 11, 1004, 1005, 1006, 0, 1, SECBIT_NO_SETUID_FIXUP, 1 << CAP_KILL },
	{ "plain", SCHED_OTHER, 0, 0, 0, 0, 0, 0, 0, 0, 1 << CAP_CHOWN | 1 << CAP_SYS_NICE },
};

struct state {
	char name[16];
	int policy, priority, nice, pdeathsig, noprivs, securebits;
	int uid[3], gid[3], groups, group[4];
	struct __user_cap_data_struct caps[2];
};

static struct state before[THREADS];
static pthread_barrier_t ready, go;

static void look(struct state *s)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct sched_param param;

	memset(s, 0, sizeof(*s));
	prctl(PR_GET_NAME, s->name);
	s->policy = syscall(SYS_sched_getscheduler, 0);
	syscall(SYS_sched_getparam, 0, &param);
	s->priority = param.sched_priority;
	s->nice = getpriority(PRIO_PROCESS, 0);
	prctl(PR_GET_PDEATHSIG, &s->pdeathsig);
	s->noprivs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	s->securebits = prctl(PR_GET_SECUREBITS);
	syscall(SYS_getresuid, &s->uid[0], &s->uid[1], &s->uid[2]);
	syscall(SYS_getresgid, &s->gid[0], &s->gid[1], &s->gid[2]);
	s->groups = syscall(SYS_getgroups, 4, s->group);
	syscall(SYS_capget, &header, s->caps);
}

static void become(const struct kind *k)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];
	struct sched_param param = { k->priority };

	MUST(prctl(PR_SET_NAME, k->name) == 0);
	MUST(setpriority(PRIO_PROCESS, 0, k->nice) == 0);
	MUST(syscall(SYS_sched_setscheduler, 0, k->policy, &param) == 0);
	if (k->group)
		MUST(syscall(SYS_setgroups, 1, &k->group) == 0);
	MUST(prctl(PR_SET_SECUREBITS, k->securebits) == 0);
	MUST(syscall(SYS_setresgid, k->gid, k->gid, 0) == 0);
	MUST(syscall(SYS_setresuid, k->uid, k->uid, 0) == 0);
	MUST(prctl(PR_SET_PDEATHSIG, k->pdeathsig) == 0);
	if (k->caps) {
		MUST(syscall(SYS_capget, &header, caps) == 0);
		caps[0].effective &= k->caps;
		caps[0].permitted &= k->caps;
		caps[1].effective = caps[1].permitted = 0;
		MUST(syscall(SYS_capset, &header, caps) == 0);
	}
	if (k->noprivs)
		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void compare(const char *who, const struct state *was, const struct state *is)
{
	CHECK(strcmp(is->name, was->name) == 0, "%s: name %s", who, is->name);
	CHECK(is->policy == was->policy && is->priority == was->priority && is->nice == was->nice,
	      "%s: policy %d priority %d nice %d, was %d %d %d", who, is->policy, is->priority, is->nice, was->policy,
	      was->priority, was->nice);
	CHECK(is->pdeathsig == was->pdeathsig && is->noprivs == was->noprivs && is->securebits == was->securebits,
	      "%s: pdeathsig %d no_new_privs %d securebits %#x, was %d %d %#x", who, is->pdeathsig, is->noprivs,
	      is->securebits, was->pdeathsig, was->noprivs, was->securebits);
	CHECK(memcmp(is->uid, was->uid, sizeof(is->uid)) == 0, "%s: uids %d %d %d", who, is->uid[0], is->uid[1],
	      is->uid[2]);
	CHECK(memcmp(is->gid, was->gid, sizeof(is->gid)) == 0, "%s: gids %d %d %d", who, is->gid[0], is->gid[1],
	      is->gid[2]);
	CHECK(is->groups == was->groups && is->group[0] == was->group[0], "%s: %d groups, %d", who, is->groups,
	      is->group[0]);
	CHECK(memcmp(is->caps, was->caps, sizeof(is->caps)) == 0, "%s: capabilities %#x %#x, was %#x %#x", who,
	      is->caps[0].effective, is->caps[0].permitted, was->caps[0].effective, was->caps[0].permitted);
}

static void *run(void *arg)
{
	long me = (long)arg;
	struct state now;

	become(&kinds[me]);
	look(&before[me]);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&go);
	look(&now);
	compare(kinds[me].name, &before[me], &now);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	struct state leader, now;

	victim_begin();
	pthread_barrier_init(&ready, NULL, THREADS + 1);
	pthread_barrier_init(&go, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		MUST((errno = pthread_create(&threads[i], NULL, run, (void *)i)) == 0);
	pthread_barrier_wait(&ready);
	MUST(prctl(PR_SET_NAME, "the leader") == 0 && setpriority(PRIO_PROCESS, 0, 2) == 0);
	look(&leader);

	victim_wait();
	look(&now);
	compare("leader", &leader, &now);
	pthread_barrier_wait(&go);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return victim_end();
}
