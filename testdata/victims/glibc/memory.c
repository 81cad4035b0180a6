/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"
#include <fcntl.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define SIZE (16 * PAGE)

/* One mapping each; flags are the VmFlags line of /proc/self/smaps (proc_pid_smaps(5)). */
static struct region {
	const char *name;
	int prot, flags, advice;
	char *at;
	char vmflags[256];
} regions[] = {
	{ "private anonymous", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "" },
	{ "shared anonymous", PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0, "" },
	{ "private file", PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, 0, "" },
	{ "shared file", PROT_READ | PROT_WRITE, MAP_SHARED, -1, 0, "" },
	{ "no access", PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "" },
	{ "read-only", PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "" },
	{ "executable", PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "" },
	{ "grows down", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0, "" },
	{ "dontfork", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MADV_DONTFORK, 0, "" },
	{ "dontdump", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MADV_DONTDUMP, 0, "" },
	{ "hugepage", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MADV_HUGEPAGE, 0, "" },
	{ "nohugepage", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MADV_NOHUGEPAGE, 0, "" },
	{ "mergeable", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MADV_MERGEABLE, 0, "" },
	{ "locked", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0, "" },
	{ "noreserve", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, "" },
};
#define NR_REGIONS (sizeof(regions) / sizeof(regions[0]))

static char *brk_start, *brk_end;
static char smaps[1 << 20];
static const char *const relro_like[] = { "an address", "in a page that the loader relocated and then protected" };

/* Copies the VmFlags of the mapping that starts at `at`; soft-dirty ("sd") is the dump's own doing. */
static void read_vmflags(const void *at, char *flags, size_t size)
{
	char start[32];
	char *p, *end, *sd;

	snprintf(start, sizeof(start), "%08lx-", (unsigned long)at);
	for (p = smaps; p && strncmp(p, start, strlen(start)) != 0; p = strchr(p, '\n'), p = p ? p + 1 : p)
		;
	snprintf(flags, size, "no mapping");
	if (!p || !(p = strstr(p, "VmFlags: ")) || !(end = strchr(p, '\n')))
		return;
	snprintf(flags, size, "%.*s", (int)(end - p - 9), p + 9);
	if ((sd = strstr(flags, "sd ")))
		memmove(sd, sd + 3, strlen(sd + 3) + 1);
}

static void set_up_region(struct region *r, int i)
{
	int writable = PROT_READ | PROT_WRITE, fd = -1;

	if (!(r->flags & MAP_ANONYMOUS)) {
		MUST((fd = open(r->name, O_RDWR | O_CREAT | O_TRUNC, 0644)) >= 0);
		MUST(ftruncate(fd, SIZE) == 0);
	}
	/* a hole on both sides: neighbours must not merge, and GROWSDOWN needs room */
	r->at = mmap(NULL, SIZE + 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(r->at != MAP_FAILED);
	r->at += 32 * PAGE;
	MUST(munmap(r->at - 32 * PAGE, SIZE + 64 * PAGE) == 0);
	MUST(mmap(r->at, SIZE, writable, r->flags | MAP_FIXED_NOREPLACE, fd, 0) == r->at);
	fill(r->at, SIZE / 2, i); /* the second half stays untouched */
	if (r->prot != writable)
		MUST(mprotect(r->at, SIZE, r->prot) == 0);
	if (r->advice >= 0 && madvise(r->at, SIZE, r->advice) != 0)
		MUST(errno == EINVAL); /* a kernel without KSM or huge pages */
	if (fd >= 0)
		close(fd);
}

void memory_setup(void)
{
	MUST((brk_start = sbrk(5 * PAGE + 123)) != (void *)-1);
	brk_end = sbrk(0);
	fill((void *)(((uintptr_t)brk_start + 7) & ~7ul), 5 * PAGE, 77);
	for (size_t i = 0; i < NR_REGIONS; i++)
		set_up_region(&regions[i], i);
	read_proc("/proc/self/smaps", smaps, sizeof(smaps));
	for (size_t i = 0; i < NR_REGIONS; i++) {
		read_vmflags(regions[i].at, regions[i].vmflags, sizeof(regions[i].vmflags));
		MUST(strcmp(regions[i].vmflags, "no mapping") != 0);
	}
}

static void verify_region(struct region *r, int i)
{
	char vmflags[256];

	read_vmflags(r->at, vmflags, sizeof(vmflags));
	CHECK(strcmp(vmflags, r->vmflags) == 0, "%s: VmFlags %s, were %s", r->name, vmflags, r->vmflags);
	if (!(r->prot & PROT_READ))
		mprotect(r->at, SIZE, PROT_READ);
	check_fill(r->name, r->at, SIZE / 2, i);
	for (size_t k = SIZE / 2; k < SIZE; k += PAGE)
		CHECK(r->at[k] == 0, "%s: untouched byte %zu is %d", r->name, k, r->at[k]);
}

/* What was written through the shared mapping is in the file; what was written privately is not. */
static void verify_file(const char *name, int has_pattern)
{
	uint64_t word = 0;
	int fd = open(name, O_RDONLY);

	CHECK(fd >= 0 && pread(fd, &word, 8, 8) == 8, "%s: cannot read it", name);
	CHECK((word != 0) == has_pattern, "%s: word 1 of the file is %#lx", name, word);
	close(fd);
}

void memory_verify(void)
{
	read_proc("/proc/self/smaps", smaps, sizeof(smaps));
	for (size_t i = 0; i < NR_REGIONS; i++)
		verify_region(&regions[i], i);
	verify_file("private file", 0);
	verify_file("shared file", 1);
	check_fill("heap", (void *)(((uintptr_t)brk_start + 7) & ~7ul), 5 * PAGE, 77);
	CHECK(sbrk(0) == brk_end, "brk is %p, was %p", sbrk(0), (void *)brk_end);
	CHECK(sbrk(PAGE) == brk_end, "brk does not move");
	CHECK(strcmp(relro_like[0], "an address") == 0, "a pointer in read-only data");
	volatile char *deeper = regions[7].at - PAGE; /* the kernel's stack guard gap allows it: nothing is near */
	*deeper = 1;
	CHECK(*deeper == 1, "MAP_GROWSDOWN does not grow");
}
