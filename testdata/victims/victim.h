/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every C victim does: set up its state, print "READY pid", sleep until SIGUSR1, look whether everything is still
 * as it was, print PASS or each difference, exit 0 or 1. Differences go on: one run shows all of them.
 */
#ifndef VICTIM_H
#define VICTIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int victim_failures;

/* After the restore: one line per thing that is not what it was. */
__attribute__((format(printf, 1, 2))) static inline void differs(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("DIFFERS ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	__atomic_fetch_add(&victim_failures, 1, __ATOMIC_SEQ_CST);
}

#define CHECK(cond, ...)                                                                                               \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			differs(__VA_ARGS__);                                                                          \
	} while (0)

/* Before the dump: a victim that cannot get ready says why and ends. */
#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			printf("NOT READY %s:%d: %s: %s\n", __FILE__, __LINE__, #cond, strerror(errno));               \
			fflush(stdout);                                                                                \
			_exit(2);                                                                                      \
		}                                                                                                      \
	} while (0)

/* Blocks SIGUSR1; threads started later inherit that. Call first. */
static inline void victim_begin(void)
{
	sigset_t go;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	MUST(sigprocmask(SIG_BLOCK, &go, NULL) == 0);
}

/* Prints READY and returns when SIGUSR1 came; the dump and the restore happen in here. */
static inline void victim_wait(void)
{
	sigset_t go;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	printf("READY %d\n", getpid());
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
}

static inline int victim_end(void)
{
	if (victim_failures == 0)
		printf("PASS\n");
	fflush(stdout);
	return victim_failures != 0;
}

/* A pattern that differs from page to page and from place to place. */
static inline uint64_t pattern(uint64_t seed, uint64_t i)
{
	return (seed * 0x9e3779b97f4a7c15u ^ i) * 0xbf58476d1ce4e5b9u;
}

static inline void fill(void *at, size_t bytes, uint64_t seed)
{
	uint64_t *p = (uint64_t *)at; /* this header is C++ as well */

	for (size_t i = 0; i < bytes / 8; i++)
		p[i] = pattern(seed, i);
}

static inline void check_fill(const char *what, const void *at, size_t bytes, uint64_t seed)
{
	const uint64_t *p = (const uint64_t *)at;

	for (size_t i = 0; i < bytes / 8; i++) {
		if (p[i] != pattern(seed, i)) {
			differs("%s: word %zu at %p is %#lx, was %#lx", what, i, (const void *)(p + i), p[i],
				pattern(seed, i));
			return;
		}
	}
}

#endif
