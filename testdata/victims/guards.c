/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guard regions (MADV_GUARD_INSTALL, Linux 6.13) in plain, read-only, locked and file memory, and a child that has some
 * of its parent's, has given up others, and has its own. CRIU dumps them since 4.2; glibc 2.42 has one below each
 * thread's stack.
 */
#include "victim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096ul
#define PAGES 16
#define SIZE (PAGES * PAGE)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

int victim_failures;

static sigjmp_buf fault;

static struct area {
	const char *name;
	int prot, locked, file;
	uint32_t guarded, in_child; /* a bit a page */
	char *at;
} areas[] = {
	{ "plain", PROT_READ | PROT_WRITE, 0, 0, 0x0ff0, 0x0ff0, 0 },
	{ "at both ends", PROT_READ | PROT_WRITE, 0, 0, 0x8001, 0x0180, 0 },
	{ "the child's only", PROT_READ | PROT_WRITE, 0, 0, 0, 0x5000, 0 },
	{ "the parent's only", PROT_READ | PROT_WRITE, 0, 0, 0x00f0, 0, 0 },
	{ "all of it", PROT_READ | PROT_WRITE, 0, 0, 0xffff, 0xffff, 0 },
	{ "read-only", PROT_READ, 0, 0, 0x0002, 0x0002, 0 },
	{ "private file", PROT_READ | PROT_WRITE, 0, 1, 0x00c0, 0x0c00, 0 },
	{ "locked", PROT_READ | PROT_WRITE, 1, 0, 0x0300, 0x0300, 0 },
};
static size_t nr_areas = sizeof(areas) / sizeof(areas[0]);

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static int readable(volatile char *at)
{
	return sigsetjmp(fault, 1) == 0 ? (*at, 1) : 0;
}

static void guard(struct area *a, uint32_t pages, int advice)
{
	for (int i = 0; i < PAGES; i++)
		if (pages & 1u << i)
			MUST(madvise(a->at + i * PAGE, PAGE, advice) == 0);
}

static void *make_file(void)
{
	int fd = open("guarded", O_CREAT | O_RDWR, 0644);
	char page[PAGE];
	void *at;

	for (int i = 0; i < PAGES; i++) {
		memset(page, 'a' + i, PAGE);
		MUST(write(fd, page, PAGE) == (long)PAGE);
	}
	MUST((at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)) != MAP_FAILED);
	close(fd);
	return at;
}

static void set_up(struct area *a)
{
	if (a->file)
		a->at = make_file();
	else
		MUST((a->at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
		     MAP_FAILED);
	for (int i = 0; i < PAGES; i++)
		memset(a->at + i * PAGE, 'a' + i, PAGE);
	guard(a, a->guarded, MADV_GUARD_INSTALL);
	MUST(mprotect(a->at, SIZE, a->prot) == 0);
	if (a->locked) /* which cannot fault everything in */
		MUST(mlock(a->at, SIZE) == 0 || errno == ENOMEM);
}

/* The child's pages that the parent has guarded are zeros, or the file's: making a guard region drops what was there. */
static void set_up_child(struct area *a)
{
	guard(a, a->guarded & ~a->in_child, MADV_GUARD_REMOVE);
	guard(a, a->in_child & ~a->guarded, MADV_GUARD_INSTALL);
}

static void check(struct area *a, const char *who, uint32_t guarded, uint32_t dropped)
{
	for (int i = 0; i < PAGES; i++) {
		volatile char *at = a->at + i * PAGE;
		int zero = (dropped & 1u << i) && !a->file, ok = readable(at + 7);

		CHECK(ok == !(guarded & 1u << i), "%s: %s: page %d can%s be read", who, a->name, i, ok ? "" : "not");
		CHECK(!ok || at[7] == (zero ? 0 : 'a' + i), "%s: %s: page %d is %d", who, a->name, i, at[7]);
	}
}

static int child_main(void)
{
	sigset_t go;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
	for (size_t i = 0; i < nr_areas; i++)
		check(&areas[i], "child", areas[i].in_child, areas[i].guarded & ~areas[i].in_child);
	return victim_failures != 0;
}

/* "plain" as argument: without locked memory, in which criu restore cannot make guard regions. */
int main(int argc, char **argv)
{
	pid_t child;
	int status, ready[2];

	victim_begin();
	nr_areas -= argc > 1 && strcmp(argv[1], "plain") == 0;
	signal(SIGSEGV, on_fault);
	for (size_t i = 0; i < nr_areas; i++)
		set_up(&areas[i]);
	MUST(pipe(ready) == 0 && (child = fork()) >= 0);
	if (child == 0) {
		for (size_t i = 0; i < nr_areas; i++)
			set_up_child(&areas[i]);
		MUST(write(ready[1], "", 1) == 1);
		return child_main();
	}
	MUST(read(ready[0], &status, 1) == 1);

	victim_wait();
	for (size_t i = 0; i < nr_areas; i++)
		check(&areas[i], "parent", areas[i].guarded, 0);
	CHECK(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child && status == 0, "child: status %#x",
	      status);
	return victim_end();
}
