/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdso: calls the functions of the vDSO that its auxiliary vector names, found by their names again after the restore:
 * what the kernel maps may be another one by then. The C library's own are not called, it keeps addresses of its own. A
 * child does the same.
 */
#include "victim.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

int victim_failures;

/* The function of the vDSO's dynamic symbol table that has this name, elf(5). */
static void *function(const char *name)
{
	char *base = (char *)getauxval(AT_SYSINFO_EHDR);
	Elf64_Ehdr *header = (Elf64_Ehdr *)base;
	Elf64_Phdr *program = (Elf64_Phdr *)(base + header->e_phoff);
	Elf64_Dyn *dynamic = NULL;
	Elf64_Sym *symbols = NULL;
	char *names = NULL;
	Elf64_Word *hash = NULL;

	for (int i = 0; i < header->e_phnum; i++)
		if (program[i].p_type == PT_DYNAMIC)
			dynamic = (Elf64_Dyn *)(base + program[i].p_offset);
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		char *at = base + dynamic->d_un.d_ptr;

		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (Elf64_Sym *)at;
		else if (dynamic->d_tag == DT_STRTAB)
			names = at;
		else if (dynamic->d_tag == DT_HASH)
			hash = (Elf64_Word *)at;
	}
	for (Elf64_Word i = 0; symbols && names && hash && i < hash[1]; i++)
		if (strcmp(names + symbols[i].st_name, name) == 0 && symbols[i].st_shndx != SHN_UNDEF)
			return base + symbols[i].st_value;
	return NULL;
}

static double seconds(struct timespec t)
{
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Between two looks by system call. */
static void check_clock(int clock)
{
	int (*gettime)(clockid_t, struct timespec *) = function("__vdso_clock_gettime");
	int (*getres)(clockid_t, struct timespec *) = function("__vdso_clock_getres");
	struct timespec before, now = { 0 }, after, resolution = { -1, -1 }, want;

	if (!gettime || !getres) {
		differs("clock_gettime or clock_getres is gone");
		return;
	}
	syscall(SYS_clock_gettime, clock, &before);
	CHECK(gettime(clock, &now) == 0, "clock %d", clock);
	syscall(SYS_clock_gettime, clock, &after);
	CHECK(seconds(now) >= seconds(before) - 0.02 && seconds(now) <= seconds(after) + 0.02,
	      "clock %d: %f is not between %f and %f", clock, seconds(now), seconds(before), seconds(after));
	syscall(SYS_clock_getres, clock, &want);
	CHECK(getres(clock, &resolution) == 0 && resolution.tv_nsec == want.tv_nsec, "clock %d: resolution %ld", clock,
	      resolution.tv_nsec);
}

static void check_others(void)
{
	int (*gettimeofday)(struct timeval *, void *) = function("__vdso_gettimeofday");
	time_t (*vtime)(time_t *) = function("__vdso_time");
	long (*getcpu)(unsigned int *, unsigned int *, void *) = function("__vdso_getcpu");
	ssize_t (*getrandom)(void *, size_t, unsigned int, void *, size_t) = function("__vdso_getrandom");
	struct timeval now = { 0 };
	unsigned int cpu = -1;
	time_t seconds, want = syscall(SYS_time, NULL);
	char random[16] = { 0 }, none[16] = { 0 };

	CHECK(gettimeofday && gettimeofday(&now, NULL) == 0 && now.tv_sec - want <= 1 && now.tv_sec >= want,
	      "gettimeofday: %ld, want %ld", now.tv_sec, want);
	CHECK(vtime && (seconds = vtime(NULL)) >= want - 1 && seconds <= want + 1, "time");
	CHECK(getcpu && getcpu(&cpu, NULL, NULL) == 0 && cpu < (unsigned int)sysconf(_SC_NPROCESSORS_CONF),
	      "getcpu: %u", cpu);
	if (getrandom) /* Linux 6.11; without state it is the system call */
		CHECK(getrandom(random, sizeof(random), 0, NULL, 0) == sizeof(random) &&
			      memcmp(random, none, sizeof(random)) != 0,
		      "getrandom");
}

static void check(void)
{
	static const int clocks[] = { CLOCK_REALTIME,      CLOCK_MONOTONIC,         CLOCK_BOOTTIME,
				      CLOCK_TAI,           CLOCK_REALTIME_COARSE,   CLOCK_MONOTONIC_COARSE,
				      CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID };

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		check_clock(clocks[i]);
	check_others();
}

int main(void)
{
	int go[2], ready[2], status;
	pid_t child;
	char byte;

	victim_begin();
	MUST(pipe(go) == 0 && pipe(ready) == 0);
	check();
	MUST(victim_failures == 0 && (child = fork()) >= 0);
	if (child == 0) {
		close(go[1]);
		MUST(write(ready[1], "r", 1) == 1 && read(go[0], &byte, 1) == 0);
		check();
		fflush(stdout);
		_exit(victim_failures);
	}
	MUST(read(ready[0], &byte, 1) == 1);

	victim_wait();
	check();
	close(go[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's wait status is %#x", status);
	return victim_end();
}
