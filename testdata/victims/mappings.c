/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of all kinds at once: every advice of madvise(2) that lasts, in combinations; memory that may only be
 * written or only be executed; contents behind PROT_NONE; stacks close above other memory; everything locked. And what
 * the kernel keeps about memory elsewhere: membarrier(2) and rseq(2) registrations.
 */
#include "victim.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#define PAGE 4096ul
#define SIZE (16 * PAGE)
#define GAP (256 * PAGE) /* that the kernel keeps below a stack, /proc/sys: stack_guard_gap */

int victim_failures;

static struct region {
	const char *name;
	int prot, advice[3];
	char *at;
	char vmflags[128];
} regions[] = {
	{ "random", PROT_READ | PROT_WRITE, { MADV_RANDOM, -1, -1 }, 0, "" },
	{ "sequential, not in dumps", PROT_READ | PROT_WRITE, { MADV_SEQUENTIAL, MADV_DONTDUMP, -1 }, 0, "" },
	{ "not forked, no huge pages", PROT_READ | PROT_WRITE, { MADV_DONTFORK, MADV_NOHUGEPAGE, MADV_RANDOM }, 0, "" },
	{ "mergeable, huge pages", PROT_READ | PROT_WRITE, { MADV_MERGEABLE, MADV_HUGEPAGE, MADV_DONTDUMP }, 0, "" },
	{ "no access, not in dumps", PROT_NONE, { MADV_DONTDUMP, -1, -1 }, 0, "" },
	{ "write-only", PROT_WRITE, { -1, -1, -1 }, 0, "" },
	{ "execute-only", PROT_EXEC, { MADV_DONTFORK, -1, -1 }, 0, "" },
	{ "all at once", PROT_READ | PROT_WRITE | PROT_EXEC, { MADV_DONTFORK, -1, -1 }, 0, "" },
};
#define NR_REGIONS (sizeof(regions) / sizeof(regions[0]))

static char *stack, *below, *far_stack;
static long locked;
static int registrations;

/* The rest of the line of /proc/self/smaps that begins with word, for the mapping at `at`, proc_pid_smaps(5). */
static void smaps_line(const char *at, const char *word, char *text, size_t size)
{
	char line[512], start[32];
	FILE *smaps = fopen("/proc/self/smaps", "r");
	int found = 0;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)at);
	snprintf(text, size, "no mapping");
	while (fgets(line, sizeof(line), smaps)) {
		found |= strncmp(line, start, strlen(start)) == 0;
		if (found && strncmp(line, word, strlen(word)) == 0) {
			snprintf(text, size, "%.*s", (int)strcspn(line + strlen(word), "\n"), line + strlen(word));
			break;
		}
	}
	fclose(smaps);
}

/* Soft-dirty is the dump's own doing. */
static void vmflags(const char *at, char *flags, size_t size)
{
	char *sd;

	smaps_line(at, "VmFlags:", flags, size);
	if ((sd = strstr(flags, " sd")))
		memmove(sd, sd + 3, strlen(sd + 3) + 1);
}

static long locked_kib(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	long kib = -1;

	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmLck: %ld", &kib);
	fclose(status);
	return kib;
}

static char *alone(size_t size, size_t room, int flags)
{
	char *at = mmap(NULL, size + 2 * room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED && munmap(at, size + 2 * room) == 0);
	at += room;
	MUST(mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0) ==
	     at);
	return at;
}

static void set_up_regions(void)
{
	for (size_t i = 0; i < NR_REGIONS; i++) {
		struct region *r = &regions[i];

		r->at = alone(SIZE, PAGE, 0);
		fill(r->at, SIZE / 2, i);
		for (int k = 0; k < 3; k++)
			if (r->advice[k] >= 0 && madvise(r->at, SIZE, r->advice[k]) != 0)
				MUST(errno == EINVAL); /* a kernel without KSM or huge pages */
		MUST(mprotect(r->at, SIZE, r->prot) == 0);
	}
}

/* A stack eight pages above other memory, where it cannot grow, and one that can. */
static void set_up_stacks(void)
{
	stack = alone(SIZE, 2 * GAP, MAP_GROWSDOWN | MAP_STACK);
	fill(stack, SIZE, 100);
	below = stack - 8 * PAGE - SIZE;
	MUST(mmap(below, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	     below);
	fill(below, SIZE, 101);
	far_stack = alone(SIZE, 2 * GAP, MAP_GROWSDOWN | MAP_STACK | MAP_NORESERVE);
	fill(far_stack, SIZE, 102);
}

static void check_regions(void)
{
	char flags[128];

	for (size_t i = 0; i < NR_REGIONS; i++) {
		struct region *r = &regions[i];

		vmflags(r->at, flags, sizeof(flags));
		CHECK(strcmp(flags, r->vmflags) == 0, "%s: VmFlags%s, were%s", r->name, flags, r->vmflags);
		MUST(mprotect(r->at, SIZE, PROT_READ) == 0);
		check_fill(r->name, r->at, SIZE / 2, i);
		CHECK(r->at[SIZE / 2] == 0 && r->at[SIZE - 1] == 0, "%s: untouched part", r->name);
	}
}

static void check_stacks(void)
{
	check_fill("stack", stack, SIZE, 100);
	check_fill("memory below the stack", below, SIZE, 101);
	check_fill("stack with room", far_stack, SIZE, 102);
	far_stack[-1] = 1;
	far_stack[-3 * (long)PAGE] = 1;
	CHECK(mmap(below + SIZE, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
		      below + SIZE,
	      "something is between the stack and what is below it");
}

static void check_registrations(void)
{
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	unsigned int size = __rseq_size < 32 ? 32 : __rseq_size;
	const int unregister = 1;

	if (registrations >= 0)
		CHECK(syscall(SYS_membarrier, 512, 0, 0) == registrations, "membarrier: registered for %#lx, was %#x",
		      syscall(SYS_membarrier, 512, 0, 0), registrations);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0, "membarrier: %s", strerror(errno));
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0, "membarrier, core: %s",
	      strerror(errno));
	if (__rseq_size > 0)
		CHECK(syscall(SYS_rseq, area, size, unregister, RSEQ_SIG) == 0, "rseq is not registered: %s",
		      strerror(errno));
}

int main(void)
{
	victim_begin();
	set_up_regions();
	set_up_stacks();
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0);
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0);
	registrations = syscall(SYS_membarrier, 512 /* GET_REGISTRATIONS, Linux 6.3 */, 0, 0);
	MUST(mlockall(MCL_CURRENT) == 0 && (locked = locked_kib()) > 0);
	for (size_t i = 0; i < NR_REGIONS; i++)
		vmflags(regions[i].at, regions[i].vmflags, sizeof(regions[i].vmflags));

	victim_wait();
	CHECK(locked_kib() == locked, "%ld KiB are locked, %ld were", locked_kib(), locked);
	check_registrations();
	check_regions();
	check_stacks();
	return victim_end();
}
