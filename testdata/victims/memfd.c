/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memfds: with a position, opened twice, sealed, sparse, without a descriptor, mapped shared and privately, and mapped
 * by a parent and its child that see each other's writes.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define SIZE (64 << 10)
#define SPARSE (1l << 30)
#define SEALED (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int victim_failures;

extern char **environ;

static int program;
static char *program_view;

static int plain, again, sealed, readonly, sparse, future, child_pipe[2];
static char *shared, *nameless, *private, *read_view, *future_view;
static pid_t child;

static int filled(const char *name, unsigned int flags, size_t size, uint64_t seed)
{
	char *map;
	int fd = memfd_create(name, flags);

	MUST(fd >= 0 && ftruncate(fd, size) == 0);
	MUST((map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	fill(map, size, seed);
	MUST(munmap(map, size) == 0);
	return fd;
}

static int reopened(int fd, int flags)
{
	char path[64];
	int other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	MUST((other = open(path, flags)) >= 0);
	return other;
}

/* The child answers a byte in shared memory with the next one. */
static void answer(void)
{
	char byte;

	while (read(child_pipe[0], &byte, 1) == 1)
		shared[SIZE - 1] = shared[SIZE - 2] + 1;
	_exit(private[0] != 'x' || private[8] != (char)pattern(2, 1));
}

/* A program in a memfd that is open and mapped for writing can be executed: nothing has opened it by a path. */
static void setup_program(void)
{
	char buf[4096];
	ssize_t n;
	int from;

	MUST((program = memfd_create("program", 0)) >= 0 && (from = open("/bin/true", O_RDONLY)) >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		MUST(write(program, buf, n) == n);
	close(from);
	MUST((program_view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, program, 0)) != MAP_FAILED);
}

static void check_program(void)
{
	char *args[] = { "true", NULL };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fexecve(program, args, environ);
		_exit(errno);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "a program in a memfd: %s",
	      strerror(WEXITSTATUS(status)));
	CHECK(lseek(program, 0, SEEK_CUR) == lseek(program, 0, SEEK_END), "position in the program");
}

static void setup(void)
{
	int gone;

	setup_program();

	plain = filled("plain", MFD_ALLOW_SEALING, SIZE, 1);
	again = reopened(plain, O_RDONLY | O_CLOEXEC);
	MUST(lseek(plain, 100, SEEK_SET) == 100 && lseek(again, 200, SEEK_SET) == 200);
	MUST(fchmod(plain, 0640) == 0 && fchown(plain, 12, 34) == 0);
	MUST((shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, plain, 0)) != MAP_FAILED);

	sealed = filled("sealed, odd size", MFD_ALLOW_SEALING | MFD_CLOEXEC, SIZE, 2);
	MUST(ftruncate(sealed, SIZE - 100) == 0 && fcntl(sealed, F_ADD_SEALS, SEALED) == 0);
	readonly = reopened(sealed, O_RDONLY);
	MUST((read_view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, readonly, 0)) != MAP_FAILED);

	gone = filled("nameless", 0, SIZE, 3);
	MUST((nameless = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0)) != MAP_FAILED);
	MUST(close(gone) == 0);

	gone = filled("private", 0, SIZE, 2);
	MUST((private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, gone, 0)) != MAP_FAILED);
	private[0] = 'x';
	MUST(close(gone) == 0);

	MUST((sparse = memfd_create("sparse", 0)) >= 0 && ftruncate(sparse, SPARSE) == 0);
	MUST(pwrite(sparse, "end", 3, SPARSE - 3) == 3);

	future = filled("future", MFD_ALLOW_SEALING, SIZE, 5);
	MUST((future_view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, future, 0)) != MAP_FAILED);
	MUST(madvise(future_view, SIZE, MADV_DONTFORK) == 0);
	MUST(fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0);
}

static void check_descriptors(void)
{
	char buf[8], path[64], link[64] = "";
	struct stat st;

	CHECK(lseek(plain, 0, SEEK_CUR) == 100 && lseek(again, 0, SEEK_CUR) == 200, "positions %ld, %ld",
	      (long)lseek(plain, 0, SEEK_CUR), (long)lseek(again, 0, SEEK_CUR));
	CHECK(fcntl(again, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0, "FD_CLOEXEC");
	CHECK((fcntl(again, F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(plain, F_GETFL) & O_ACCMODE) == O_RDWR,
	      "access modes");
	CHECK(fstat(plain, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_uid == 12 && st.st_gid == 34,
	      "mode %#o, owner %d.%d", st.st_mode, st.st_uid, st.st_gid);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, "/memfd:plain (deleted)") == 0,
	      "its name is %s", link);
	shared[300] = 'w';
	CHECK(pread(again, buf, 1, 300) == 1 && buf[0] == 'w', "a write to the mapping does not reach the file");
}

static void check_seals(void)
{
	struct stat st;

	CHECK(fcntl(plain, F_GET_SEALS) == 0, "plain: seals %#x", fcntl(plain, F_GET_SEALS));
	CHECK(fcntl(sealed, F_GET_SEALS) == SEALED, "sealed: seals %#x", fcntl(sealed, F_GET_SEALS));
	CHECK(fcntl(sparse, F_GET_SEALS) == F_SEAL_SEAL, "sparse: seals %#x", fcntl(sparse, F_GET_SEALS));
	CHECK(fcntl(future, F_GET_SEALS) == F_SEAL_FUTURE_WRITE, "future: seals %#x", fcntl(future, F_GET_SEALS));
	CHECK(write(sealed, "x", 1) < 0 && ftruncate(sealed, 1) < 0 && ftruncate(sealed, SIZE) < 0,
	      "sealed can be changed");
	CHECK(fstat(sealed, &st) == 0 && st.st_size == SIZE - 100, "sealed has %ld bytes", (long)st.st_size);
	CHECK(write(future, "x", 1) < 0, "future can be written to");
}

static void check_contents(void)
{
	char end[4] = "";
	struct stat st;

	CHECK(shared[SIZE - 1] == 42, "the child's answer is %d", shared[SIZE - 1]);
	check_fill("shared mapping", shared, 256, 1);
	CHECK(shared[4096] == (char)pattern(1, 512), "shared mapping, page 1");
	check_fill("mapping of a sealed memfd", read_view, SIZE - 104, 2);
	check_fill("mapping of a memfd without descriptor", nameless, SIZE, 3);
	check_fill("writable mapping of a sealed memfd", future_view, SIZE, 5);
	future_view[0] = 1;
	CHECK(private[0] == 'x' && private[8] == (char)pattern(2, 1), "private mapping");
	CHECK(fstat(sparse, &st) == 0 && st.st_size == SPARSE && st.st_blocks <= 8, "sparse: %ld bytes in %ld blocks",
	      (long)st.st_size, (long)st.st_blocks);
	CHECK(pread(sparse, end, 3, SPARSE - 3) == 3 && strcmp(end, "end") == 0, "sparse ends in %s", end);
}

int main(void)
{
	int status;

	victim_begin();
	setup();
	check_program();
	MUST(pipe(child_pipe) == 0 && (child = fork()) >= 0);
	if (child == 0) {
		close(child_pipe[1]);
		answer();
	}
	close(child_pipe[0]);
	victim_wait();
	shared[SIZE - 2] = 41;
	CHECK(write(child_pipe[1], "q", 1) == 1 && close(child_pipe[1]) == 0, "ask");
	CHECK(wait(&status) == child && status == 0, "the child's wait status is %#x", status);
	check_descriptors();
	check_seals();
	check_contents();
	check_program();
	return victim_end();
}
