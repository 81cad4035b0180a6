/* SPDX-License-Identifier: Apache-2.0 */
/*
 * huge [DIRECTORY]: huge pages: private, not reserved, read-only, shared with a child, and memfds of them, which are
 * mapped shared and privately or only held by a descriptor; a file of a hugetlbfs mounted on DIRECTORY. The child has
 * changed one of the private pages.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HUGE (2l << 20)

int victim_failures;

static char *private, *sparse, *readonly, *shared, *view, *own, *file_view, *file_own;
static int mapped, held, child_pipe[2];

static char *map(size_t size, int flags, int fd)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	MUST(at != MAP_FAILED);
	return at;
}

static int created(const char *name, size_t size, uint64_t seed)
{
	int fd = memfd_create(name, MFD_HUGETLB | MFD_ALLOW_SEALING);
	char *at;

	MUST(fd >= 0 && ftruncate(fd, size) == 0);
	at = map(HUGE, MAP_SHARED, fd);
	fill(at, HUGE, seed);
	MUST(munmap(at, HUGE) == 0);
	return fd;
}

static void setup(void)
{
	int gone;

	private = map(2 * HUGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	fill(private, HUGE, 1); /* the second page stays untouched */
	sparse = map(64 * HUGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1);
	fill(sparse + 40 * HUGE, HUGE, 2);
	readonly = map(HUGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1);
	fill(readonly, HUGE, 3);
	MUST(mprotect(readonly, HUGE, PROT_READ) == 0);
	shared = map(2 * HUGE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	fill(shared + HUGE, HUGE, 4);
	mapped = created("mapped", 2 * HUGE, 5);
	view = map(2 * HUGE, MAP_SHARED, mapped);
	held = created("held", HUGE, 6);
	MUST(fchmod(held, 0600) == 0 && fcntl(held, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	gone = created("private", HUGE, 7);
	own = map(HUGE, MAP_PRIVATE, gone);
	own[0] = 'o';
	MUST(close(gone) == 0);
}

static void set_up_file(const char *dir)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/file", dir);
	MUST((fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0 && ftruncate(fd, HUGE) == 0);
	file_view = map(HUGE, MAP_SHARED, fd);
	fill(file_view, HUGE, 8);
	file_own = map(HUGE, MAP_PRIVATE, fd);
	file_own[0] = 'o';
	MUST(close(fd) == 0);
}

static void check_file(void)
{
	check_fill("file", file_view, HUGE, 8);
	CHECK(file_own[0] == 'o' && file_own[8] == (char)pattern(8, 1), "private mapping of the file");
}

/* Huge pages that a mapping has, KiB, proc_pid_smaps(5). */
static long huge(const char *at)
{
	char line[256], start[32];
	long kib = -1, n, found = 0;
	FILE *smaps = fopen("/proc/self/smaps", "r");

	snprintf(start, sizeof(start), "%lx-", (unsigned long)at);
	while (fgets(line, sizeof(line), smaps)) {
		if (strncmp(line, start, strlen(start)) == 0) {
			found = 1;
			kib = 0;
		}
		if (found &&
		    (sscanf(line, "Shared_Hugetlb: %ld", &n) == 1 || sscanf(line, "Private_Hugetlb: %ld", &n) == 1))
			kib += n;
		if (found && strncmp(line, "VmFlags:", 8) == 0)
			break;
	}
	fclose(smaps);
	return kib;
}

static void child(void)
{
	private[8 * 1000] = 'c';
	MUST(write(child_pipe[1], "r", 1) == 1);
	while (shared[0] != 'q')
		usleep(1000);
	CHECK(private[8 * 1000] == 'c' && private[0] == (char)pattern(1, 0) &&
		      private[8 * 1001] == (char)pattern(1, 1001),
	      "the child's page");
	CHECK(view[0] == 'v', "the parent's write to the memfd does not show");
	shared[1] = 'a';
	fflush(stdout);
	_exit(victim_failures);
}

static void check_descriptors(void)
{
	struct stat st;
	char *at = map(HUGE, MAP_SHARED, held);

	check_fill("held", at, HUGE, 6);
	CHECK(fstat(held, &st) == 0 && st.st_size == HUGE && st.st_blksize == HUGE && (st.st_mode & 0777) == 0600,
	      "held: %ld bytes, pages of %ld, mode %#o", (long)st.st_size, (long)st.st_blksize, st.st_mode);
	CHECK(fcntl(held, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW), "held: seals %#x", fcntl(held, F_GET_SEALS));
	CHECK(fstat(mapped, &st) == 0 && st.st_size == 2 * HUGE, "mapped: %ld bytes", (long)st.st_size);
	CHECK(ftruncate(held, 2 * HUGE) < 0, "held can grow");
}

int main(int argc, char **argv)
{
	char byte;
	int status;
	long was[3];
	pid_t pid;

	victim_begin();
	setup();
	if (argc > 1)
		set_up_file(argv[1]);
	MUST(pipe(child_pipe) == 0 && (pid = fork()) >= 0);
	if (pid == 0)
		child();
	MUST(read(child_pipe[0], &byte, 1) == 1 && close(child_pipe[1]) == 0);
	char *const all[] = { private, sparse, readonly };
	for (int i = 0; i < 3; i++)
		MUST((was[i] = huge(all[i])) > 0);

	victim_wait();
	for (int i = 0; i < 3; i++)
		CHECK(huge(all[i]) == was[i], "mapping %d: %ld KiB of huge pages, was %ld", i, huge(all[i]), was[i]);
	view[0] = 'v';
	shared[0] = 'q';
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child's wait status is %#x", status);
	CHECK(shared[1] == 'a', "the child's answer is %d", shared[1]);
	check_fill("private", private, HUGE, 1);
	CHECK(private[HUGE] == 0, "private, untouched page");
	check_fill("sparse", sparse + 40 * HUGE, HUGE, 2);
	CHECK(sparse[0] == 0, "sparse, untouched page");
	check_fill("read-only", readonly, HUGE, 3);
	check_fill("shared", shared + HUGE, HUGE, 4);
	CHECK(view[8] == (char)pattern(5, 1) && own[0] == 'o' && own[8] == (char)pattern(7, 1), "memfds");
	check_descriptors();
	if (argc > 1)
		check_file();
	return victim_end();
}
