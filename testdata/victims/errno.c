/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are interrupted between a failed call and their look at errno. */
#include "victim.h"

#include <pthread.h>

#define THREADS 3

int victim_failures;
static sig_atomic_t go;
static int ready;

/* A loop makes no call that sets errno. */
static void *look(void *arg)
{
	int want = 100 + (int)(intptr_t)arg;

	errno = want;
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&go, __ATOMIC_SEQ_CST))
		;
	CHECK(errno == want, "errno of thread %d is %d", want, errno);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	sigset_t pending;
	int found;

	victim_begin();
	for (intptr_t i = 0; i < THREADS; i++)
		MUST(pthread_create(&threads[i], NULL, look, (void *)i) == 0);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < THREADS)
		;
	printf("READY %d\n", getpid());
	errno = 42;
	do
		sigpending(&pending);
	while (!sigismember(&pending, SIGUSR1));
	found = errno;
	__atomic_store_n(&go, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < THREADS; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
	CHECK(found == 42, "errno of the first thread is %d", found);
	return victim_end();
}
