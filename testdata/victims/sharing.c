/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that tasks share: anonymous, at the same address, at others, in part, read-only, and some that the parent has
 * not got itself; deleted files of /dev/shm, which have a mapping in one task and a descriptor in another, or only
 * mappings. A child sleeps in a semaphore in each kind.
 */
#include "victim.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096
#define SIZE (64 << 10)

int victim_failures;

/* What is at the start of each shared stretch. */
struct talk {
	sem_t question, answer;
	int asked, answered;
};

static char *whole, *moved, *part, *shm_map;
static int shm_fd;
static struct talk *nested;

static void *anonymous(size_t size, uint64_t seed)
{
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	MUST(map != MAP_FAILED);
	fill(map, size, seed);
	return map;
}

static int deleted(const char *name, size_t size, uint64_t seed)
{
	char path[64], *map;
	int fd;

	snprintf(path, sizeof(path), "/dev/shm/crpie-%s-%d", name, getpid());
	MUST((fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0 && unlink(path) == 0 && ftruncate(fd, size) == 0);
	MUST((map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	fill(map, size, seed);
	MUST(munmap(map, size) == 0);
	return fd;
}

static struct talk *begin_talk(void *at)
{
	struct talk *talk = at;

	MUST(sem_init(&talk->question, 1, 0) == 0 && sem_init(&talk->answer, 1, 0) == 0);
	return talk;
}

static void answer(struct talk *talk)
{
	while (sem_wait(&talk->question) < 0)
		MUST(errno == EINTR);
	talk->answered = talk->asked + 1;
	sem_post(&talk->answer);
}

static void ask(const char *what, struct talk *talk)
{
	struct timespec until;

	talk->asked = 41;
	sem_post(&talk->question);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	CHECK(sem_timedwait(&talk->answer, &until) == 0 && talk->answered == 42, "%s: asked %d, answered %d", what,
	      talk->asked, talk->answered);
}

static void ready(int fd)
{
	MUST(write(fd, "r", 1) == 1);
}

/* The first child has the memory elsewhere, and half of one only; its own child and it share what nobody else has. */
static void first(int ready_fd)
{
	pid_t grandchild;
	int status;
	char *half;

	MUST((moved = mremap(moved, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, moved + (64 << 20))) != MAP_FAILED);
	MUST(munmap(part, SIZE / 2) == 0 && mprotect(part + SIZE / 2, SIZE / 2, PROT_READ) == 0);
	half = part + SIZE / 2;
	nested = begin_talk(anonymous(SIZE, 6));
	MUST((grandchild = fork()) >= 0);
	if (grandchild == 0) {
		MUST(munmap(whole, SIZE) == 0);
		ready(ready_fd);
		answer(nested);
		_exit(0);
	}
	ready(ready_fd);
	answer((struct talk *)moved);
	ask("grandchild", nested);
	CHECK(((char *)nested)[PAGE] == (char)pattern(6, PAGE / 8), "memory that only child and grandchild have");
	CHECK(half[0] == (char)pattern(3, SIZE / 16), "second half: %#x", half[0]);
	CHECK(half[8] == 'p', "second half: the parent's write does not show");
	CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0, "the grandchild's wait status is %#x",
	      status);
	fflush(stdout);
	_exit(victim_failures);
}

/* The second child has a descriptor where the parent has a mapping, and the other way round. */
static void second(int ready_fd, int with_fd)
{
	struct stat st;

	MUST(munmap(shm_map, SIZE) == 0);
	MUST((shm_map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm_fd, 0)) != MAP_FAILED);
	MUST(close(shm_fd) == 0);
	ready(ready_fd);
	answer((struct talk *)shm_map);
	CHECK(fstat(with_fd, &st) == 0 && st.st_nlink == 0 && st.st_size == SIZE, "file: %jd bytes",
	      (intmax_t)st.st_size);
	CHECK(pwrite(with_fd, "w", 1, 2 * PAGE) == 1, "write: %s", strerror(errno));
	fflush(stdout);
	_exit(victim_failures);
}

static pid_t spawn(void (*run)(int, int), int ready_fd, int with_fd)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0)
		run(ready_fd, with_fd);
	return pid;
}

static void first_child(int ready_fd, int unused)
{
	close(unused);
	first(ready_fd);
}

int main(void)
{
	int up[2], with_fd, status;
	pid_t child[2];
	char *view, byte;

	victim_begin();
	whole = anonymous(SIZE, 1);
	moved = anonymous(SIZE, 2);
	begin_talk(moved);
	part = anonymous(SIZE, 3);
	shm_fd = deleted("map", SIZE, 4);
	MUST((shm_map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shm_fd, 0)) != MAP_FAILED);
	begin_talk(shm_map);
	with_fd = deleted("fd", SIZE, 5);
	MUST((view = mmap(NULL, SIZE / 2, PROT_READ, MAP_SHARED, with_fd, PAGE)) != MAP_FAILED);
	MUST(pipe(up) == 0);
	child[0] = spawn(first_child, up[1], with_fd);
	child[1] = spawn(second, up[1], with_fd);
	MUST(close(with_fd) == 0);
	MUST(munmap(part + SIZE / 2 + PAGE, SIZE / 2 - PAGE) == 0);
	for (int i = 0; i < 3; i++)
		MUST(read(up[0], &byte, 1) == 1);

	victim_wait();
	part[SIZE / 2 + 8] = 'p';
	check_fill("memory that all have", whole, SIZE, 1);
	ask("child with the memory elsewhere", (struct talk *)moved);
	check_fill("part", part, SIZE / 2, 3);
	ask("child that maps a file of /dev/shm", (struct talk *)shm_map);
	CHECK(moved[PAGE] == (char)pattern(2, PAGE / 8) && shm_map[PAGE] == (char)pattern(4, PAGE / 8),
	      "behind the semaphores");
	CHECK(view[0] == (char)pattern(5, PAGE / 8), "view of a file");
	for (int i = 0; i < 2; i++)
		CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0, "child %d: wait status %#x", i, status);
	CHECK(view[PAGE] == 'w', "the child's write to the file does not show in the mapping");
	return victim_end();
}
