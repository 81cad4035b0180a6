/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32 threads (or as many as the argument says): thread-local storage, a mutex that all of them fight for, a condition
 * variable that half of them sleep on, a robust mutex that one of them holds; each with its own name, signal mask and
 * alternate stack, and registered for restartable sequences by libc.
 */
#include "victim.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/rseq.h>

int victim_failures;

#define MAX_THREADS 1024

static int nr_threads = 32;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t robust;
static pthread_barrier_t ready;
static int finished;
static long turns, mine[MAX_THREADS];
static __thread long tls = -1;
static __thread char tls_buffer[256];

struct setup {
	char name[16];
	sigset_t mask;
	stack_t stack;
};

static void set_up(struct setup *s, long me)
{
	tls = me;
	snprintf(tls_buffer, sizeof(tls_buffer), "thread %ld", me);
	snprintf(s->name, sizeof(s->name), "victim-%ld", me);
	MUST(prctl(PR_SET_NAME, s->name) == 0);
	sigemptyset(&s->mask);
	sigaddset(&s->mask, SIGUSR1);
	sigaddset(&s->mask, SIGRTMIN + 1 + me % 20);
	MUST(pthread_sigmask(SIG_SETMASK, &s->mask, NULL) == 0);
	s->stack = (stack_t){ .ss_sp = malloc(16384), .ss_size = 16384 };
	MUST(sigaltstack(&s->stack, NULL) == 0);
}

static void verify(const struct setup *s, long me)
{
	char name[16], want[256];
	sigset_t mask;
	stack_t stack;

	snprintf(want, sizeof(want), "thread %ld", me);
	CHECK(tls == me && strcmp(tls_buffer, want) == 0, "thread %ld: TLS is %ld, \"%s\"", me, tls, tls_buffer);
	prctl(PR_GET_NAME, name);
	CHECK(strcmp(name, s->name) == 0, "thread %ld: name is %s", me, name);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		CHECK(sigismember(&mask, sig) == sigismember(&s->mask, sig), "thread %ld: mask of signal %d", me, sig);
	sigaltstack(NULL, &stack);
	CHECK(stack.ss_sp == s->stack.ss_sp && stack.ss_size == s->stack.ss_size && stack.ss_flags == 0,
	      "thread %ld: sigaltstack %p+%zu flags %d", me, stack.ss_sp, stack.ss_size, stack.ss_flags);
#ifdef RSEQ_SIG
	if (__rseq_size > 0) {
		struct rseq *rs = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

		CHECK((int)rs->cpu_id >= 0, "thread %ld: rseq is not registered: cpu_id %d", me, (int)rs->cpu_id);
	}
#endif
}

static void *sleeper(struct setup *s, long me)
{
	pthread_mutex_lock(&lock);
	while (!finished)
		pthread_cond_wait(&done, &lock);
	pthread_mutex_unlock(&lock);
	verify(s, me);
	return NULL;
}

static void *fighter(struct setup *s, long me)
{
	for (int end = 0; !end;) {
		pthread_mutex_lock(&lock);
		turns++;
		mine[me]++;
		end = finished;
		pthread_mutex_unlock(&lock);
		usleep(1000);
	}
	verify(s, me);
	return NULL;
}

static void *run(void *arg)
{
	long me = (long)arg;
	struct setup s;

	set_up(&s, me);
	if (me == 0)
		MUST(pthread_mutex_lock(&robust) == 0);
	pthread_barrier_wait(&ready);
	if (me % 2)
		sleeper(&s, me);
	else
		fighter(&s, me);
	return NULL; /* thread 0 dies with the robust mutex held */
}

static void check_turns(void)
{
	long sum = 0;

	for (int i = 0; i < nr_threads; i++)
		sum += mine[i];
	CHECK(sum == turns, "the mutex did not exclude: %ld turns, counted %ld", turns, sum);
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	pthread_mutexattr_t attr;

	if (argc > 1)
		nr_threads = atoi(argv[1]);
	victim_begin();
	MUST(nr_threads > 0 && nr_threads <= MAX_THREADS);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	MUST(pthread_mutex_init(&robust, &attr) == 0);
	pthread_barrier_init(&ready, NULL, nr_threads + 1);
	for (long i = 0; i < nr_threads; i++)
		MUST((errno = pthread_create(&threads[i], NULL, run, (void *)i)) == 0);
	pthread_barrier_wait(&ready);
	victim_wait();
	pthread_mutex_lock(&lock);
	finished = 1;
	pthread_cond_broadcast(&done);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	check_turns();
	CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD, "the robust list is lost: the owner died unnoticed");
	return victim_end();
}
