/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that runs as root and has workers without privileges: workers [COUNT [closed]] (1). Each has uid 1234,
 * memory of its own, and unless closed can be looked into by whoever has that uid (PR_SET_DUMPABLE). SIGUSR1 for the
 * root is passed on; each checks what it had, and the root collects them. Only root may write the file "secret" beside
 * them.
 */
#include "victim.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WORKER 1234
#define MAX_WORKERS 100
#define OWN (64 << 10)

int victim_failures;

static char memory[OWN];
static int open_workers;

static void wait_for_go(void)
{
	sigset_t go;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
}

static void check_open(int dumpable)
{
	CHECK(prctl(PR_GET_DUMPABLE) == dumpable, "dumpable is %d, was %d", prctl(PR_GET_DUMPABLE), dumpable);
}

static void work(int me, int ready)
{
	uid_t real, effective, saved;

	MUST(setgroups(0, NULL) == 0 && setresgid(WORKER, WORKER, WORKER) == 0 &&
	     setresuid(WORKER, WORKER, WORKER) == 0);
	MUST(prctl(PR_SET_DUMPABLE, open_workers) == 0 && prctl(PR_SET_NAME, "worker") == 0);
	fill(memory, OWN, me);
	MUST(write(ready, "r", 1) == 1);
	wait_for_go();
	check_fill("memory", memory, OWN, me);
	MUST(getresuid(&real, &effective, &saved) == 0);
	CHECK(real == WORKER && effective == WORKER && saved == WORKER, "uids are %d %d %d", real, effective, saved);
	check_open(open_workers);
	fflush(stdout);
	_exit(victim_failures != 0);
}

static void check_secret(void)
{
	struct stat st;

	MUST(stat("secret", &st) == 0);
	CHECK(st.st_uid == 0 && st.st_gid == 0, "the owner of secret is %d:%d, was 0:0", st.st_uid, st.st_gid);
}

int main(int argc, char **argv)
{
	int workers = argc > 1 ? atoi(argv[1]) : 1, ready[2];
	pid_t child[MAX_WORKERS];
	char byte;

	open_workers = argc < 3;
	victim_begin();
	MUST(workers <= MAX_WORKERS && pipe(ready) == 0);
	MUST(close(open("secret", O_CREAT | O_EXCL | O_WRONLY, 0600)) == 0);
	for (int i = 0; i < workers; i++) {
		child[i] = fork();
		MUST(child[i] >= 0);
		if (child[i] == 0)
			work(i, ready[1]);
	}
	for (int i = 0; i < workers; i++)
		MUST(read(ready[0], &byte, 1) == 1);
	fill(memory, OWN, 1000);
	victim_wait();
	check_fill("memory", memory, OWN, 1000);
	check_secret();
	check_open(1);
	for (int i = 0; i < workers; i++) {
		int status = -1;

		CHECK(kill(child[i], SIGUSR1) == 0, "worker %d: %s", child[i], strerror(errno));
		CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0, "worker %d: status %#x", child[i],
		      status);
	}
	return victim_end();
}
