/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deleted [link|exec]: files without a name: deleted, deleted and replaced by another of the same name, sparse, mapped;
 * a deleted fifo and a deleted working directory; with "link" one that has another name still, with "exec" the program
 * itself. A child has the first one, too.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SIZE (8 << 10)
#define SPARSE (1 << 20)

int victim_failures;

static int file, again, replaced, sparse, linked, fifo, child_pipe[2];
static char *shared, *private;
static char home[4096];
static pid_t child;

static int create(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0640);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void setup(int linking)
{
	int map;
	struct timespec times[2] = { { 1000000000, 5 }, { 1100000000, 6 } };

	MUST(getcwd(home, sizeof(home)));
	file = create("file", "0123456789");
	MUST((again = open("file", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)) >= 0);
	MUST(lseek(file, 4, SEEK_SET) == 4);
	MUST(fchown(file, 12, 34) == 0 && futimens(file, times) == 0 && unlink("file") == 0);

	replaced = create("replaced", "the old one");
	MUST(unlink("replaced") == 0 && close(create("replaced", "the new one, which is longer")) == 0);

	sparse = create("sparse", "begin");
	MUST(pwrite(sparse, "end", 3, SPARSE - 3) == 3 && unlink("sparse") == 0);

	map = create("mapped", "");
	MUST(ftruncate(map, SIZE) == 0);
	MUST((shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0)) != MAP_FAILED);
	fill(shared, SIZE, 1);
	MUST((private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, map, 0)) != MAP_FAILED);
	private[0] = 'x';
	MUST(close(map) == 0 && unlink("mapped") == 0);

	if (linking) {
		linked = create("first", "one of two names");
		MUST(link("first", "second") == 0 && unlink("first") == 0);
	}

	MUST(mkfifo("fifo", 0600) == 0 && (fifo = open("fifo", O_RDWR | O_NONBLOCK)) >= 0);
	MUST(write(fifo, "in a fifo", 9) == 9 && unlink("fifo") == 0);

	MUST(mkdir("subdir", 0711) == 0 && chdir("subdir") == 0 && rmdir("../subdir") == 0);
}

/* The child appends to the deleted file. */
static void append(void)
{
	char byte;

	if (read(child_pipe[0], &byte, 1) == 1)
		write(again, "abc", 3);
	_exit(private[0] != 'x' || lseek(file, 0, SEEK_CUR) != 4);
}

static void check_name(int fd, const char *want)
{
	char path[64], link[8192] = "", name[8192];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(name, sizeof(name), "%s/%s (deleted)", home, want);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, name) == 0, "the name of %s is %s", want,
	      link);
}

static void check_text(int fd, const char *what, const char *want)
{
	char buf[64] = "";

	CHECK(pread(fd, buf, sizeof(buf) - 1, 0) >= 0 && strcmp(buf, want) == 0, "%s has %s", what, buf);
}

static void check_file(void)
{
	struct stat st;

	check_name(file, "file");
	CHECK(fstat(file, &st) == 0 && st.st_nlink == 0 && st.st_mode == (S_IFREG | 0640) && st.st_uid == 12 &&
		      st.st_gid == 34,
	      "file: %ju links, mode %#o, owner %d.%d", (uintmax_t)st.st_nlink, st.st_mode, st.st_uid, st.st_gid);
	CHECK(st.st_atim.tv_sec == 1000000000, "file: last access %ld", (long)st.st_atim.tv_sec);
	CHECK(fcntl(again, F_GETFD) == FD_CLOEXEC &&
		      (fcntl(again, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND),
	      "again: flags %#o", fcntl(again, F_GETFL));
	check_text(file, "file", "0123456789abc");
}

static void check_others(void)
{
	struct stat st;
	char buf[16];

	check_text(replaced, "replaced", "the old one");
	CHECK(fstat(replaced, &st) == 0 && st.st_nlink == 0, "replaced has a name");
	CHECK(fstat(sparse, &st) == 0 && st.st_size == SPARSE && st.st_blocks <= 32, "sparse: %ld bytes in %ld blocks",
	      (long)st.st_size, (long)st.st_blocks);
	check_text(sparse, "sparse", "begin");
	CHECK(pread(sparse, buf, 3, SPARSE - 3) == 3 && memcmp(buf, "end", 3) == 0, "sparse does not end in end");
	check_fill("shared mapping", shared, SIZE, 1);
	CHECK(private[0] == 'x' && private[8] == (char)pattern(1, 1), "private mapping");
	shared[SIZE - 1] = 'w';
	CHECK(private[SIZE - 1] == 'w', "the mappings are not of one file");
	CHECK(read(fifo, buf, sizeof(buf)) == 9 && memcmp(buf, "in a fifo", 9) == 0, "fifo");
	CHECK(read(fifo, buf, sizeof(buf)) < 0 && errno == EAGAIN, "fifo: more than was in it");
	check_name(fifo, "fifo");
}

static void check_linked(void)
{
	char path[8192];
	struct stat st, other;

	check_name(linked, "first");
	CHECK(write(linked, "!", 1) == 1, "linked");
	snprintf(path, sizeof(path), "%s/second", home);
	CHECK(fstat(linked, &st) == 0 && stat(path, &other) == 0 && st.st_ino == other.st_ino,
	      "linked is another file than second");
	check_text(open(path, O_RDONLY), "second", "one of two names!");
}

static void check_directory(void)
{
	char path[8192];
	struct stat st;

	snprintf(path, sizeof(path), "%s/replaced", home);
	check_text(open(path, O_RDONLY), "the new one", "the new one, which is longer");
	snprintf(path, sizeof(path), "%s/subdir", home);
	CHECK(stat(".", &st) == 0 && st.st_mode == (S_IFDIR | 0711) && access(path, F_OK) < 0, "working directory");
	CHECK(getcwd(path, sizeof(path)) == NULL && errno == ENOENT, "the working directory has a name");
}

int main(int argc, char **argv)
{
	int status, linking = argc > 1 && strcmp(argv[1], "link") == 0;

	victim_begin();
	if (argc > 1 && strcmp(argv[1], "exec") == 0) {
		MUST(system("cp /proc/$PPID/exe self") == 0);
		execl("./self", "self", "gone", NULL);
	}
	if (argc > 1 && strcmp(argv[1], "gone") == 0)
		MUST(unlink("self") == 0);
	MUST(pipe(child_pipe) == 0);
	setup(linking);
	MUST((child = fork()) >= 0);
	if (child == 0) {
		close(child_pipe[1]);
		append();
	}
	victim_wait();
	CHECK(write(child_pipe[1], "q", 1) == 1, "ask");
	CHECK(wait(&status) == child && status == 0, "the child's wait status is %#x", status);
	check_file();
	check_others();
	check_directory();
	if (linking)
		check_linked();
	return victim_end();
}
