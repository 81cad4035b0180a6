/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with libcrypto, loaded as programs load plugins, and a child without it: for plugins that use symbols of
 * the process. It prints how often its own functions were called, and by which of its processes.
 */
#include "victim.h"

#include <dlfcn.h>
#include <sys/wait.h>

int victim_failures;
static volatile int generation = 5;

/* Called by nobody here. */
__attribute__((noinline, used)) static int renew(int by)
{
	generation += by;
	return generation;
}

static void child(void)
{
	victim_wait();
	printf("child: generation %d\n", generation);
	fflush(stdout);
	_exit(generation != 5 && generation != 7);
}

int main(int argc, char **argv)
{
	unsigned char bytes[8];
	int (*draw)(unsigned char *, int);
	void *crypto;
	int status;
	pid_t pid = 0;

	victim_begin();
	if (argc > 1 && strcmp(argv[1], "child") == 0) {
		pid = fork();
		MUST(pid >= 0);
		if (pid == 0)
			child();
	}
	crypto = dlopen("libcrypto.so.3", RTLD_NOW);
	MUST(crypto != NULL);
	draw = (int (*)(unsigned char *, int))dlsym(crypto, "RAND_bytes");
	MUST(draw != NULL && draw(bytes, sizeof(bytes)) == 1);
	victim_wait();
	CHECK(draw(bytes, sizeof(bytes)) == 1, "RAND_bytes fails");
	if (pid != 0) {
		kill(pid, SIGUSR1);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child's status is %#x", status);
	}
	printf("generation %d\n", generation);
	return victim_end();
}
