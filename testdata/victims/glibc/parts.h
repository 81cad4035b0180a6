/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the glibc victim: each sets something up before the dump and verifies it after the restore. */
#ifndef PARTS_H
#define PARTS_H

#include "../victim.h"

void files_setup(void);
void files_verify(void);
void memory_setup(void);
void memory_verify(void);
void signals_setup(void);
void signals_verify(void);
void timers_setup(void);
void timers_verify(void);
void attrs_setup(void);
void attrs_verify(void);

/* Reads a whole file of /proc into a NUL-terminated buffer. */
void read_proc(const char *path, char *buf, size_t size);

#endif
