/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw [random|RAND_poll]: prints what it draws from libc's generators after it was signalled. With a word threads call
 * that function all the time, OpenSSL's from a library, so that most dumps find one inside it.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long (*function)(void) = random;

#ifdef LINKED_WITH_GO
/* Where ld lays .go.buildinfo of a program that has C in it: behind C's data, aligned to 16 (debug/buildinfo). */
__attribute__((aligned(16), used)) static struct {
	char data[300 << 10];
	char magic[16];
} linked = { "C", "\xff Go buildinf:" };
#endif

#ifdef WITH_GNUTLS
void gnutls_rnd_refresh(void)
{
}
#endif

static void *calling(void *arg)
{
	for (;;)
		function();
	return arg;
}

static void call_openssl(void)
{
	void *library = dlopen("libcrypto.so.3", RTLD_NOW);
	void *symbol = library != NULL ? dlsym(library, "RAND_poll") : NULL;

	if (symbol == NULL)
		exit(1);
	memcpy(&function, &symbol, sizeof(function));
}

int main(int argc, char **argv)
{
	pthread_t thread;
	sigset_t set;
	int sig, i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (argc > 1 && strcmp(argv[1], "RAND_poll") == 0)
		call_openssl();
	for (i = 0; argc > 1 && i < 3; i++)
		if (pthread_create(&thread, NULL, calling, NULL) != 0)
			return 1;
	random();
	lrand48();
	printf("READY %d\n", getpid());
	fflush(stdout);
	sigwait(&set, &sig);
	printf("DREW random %lx%lx\nDREW lrand48 %lx%lx\nPASS\n", random(), random(), lrand48(), lrand48());
	fflush(stdout);
	_exit(0); /* exit would take OpenSSL away from the threads */
}
