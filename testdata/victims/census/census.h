/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A census: the victim sets everything that it can find out about itself to what it is not by default, takes down each
 * fact under a key, and says after the restore which facts have changed. Much of that CRIU does not dump;
 * docs/support.md lists it by these keys, and a test holds the list.
 */
#ifndef CENSUS_H
#define CENSUS_H

#include "../victim.h"

/* Takes a fact down, the second time compares it with the first. */
__attribute__((format(printf, 2, 3))) void fact(const char *key, const char *fmt, ...);

/* Takes bytes down. */
void fact_bytes(const char *key, const void *bytes, size_t size);

/* This kernel or machine has no such thing: nobody can lose it. */
void lacks(const char *key);

#define SET(key, cond)                                                                                                 \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			lacks(key);                                                                                    \
	} while (0)

/* What the keys of this thread begin with. */
extern __thread const char *who;

void set_before_threads(void), set_process(void), tell_process(void);
void set_thread(int second), tell_thread(void);
void set_memory(void), tell_memory(void);
void set_files(void), tell_files(void), tell_dnotify(void);
void set_sockets(void), tell_sockets(void);

#endif
