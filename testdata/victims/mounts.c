/* SPDX-License-Identifier: Apache-2.0 */
/* A parent and a child in a mount namespace of their own, with files, a socket and a mapping below its mounts. */
#include "victim.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>

int victim_failures;

/* The program begins anew in the namespace: CRIU dumps no file of the old one and does not know such mappings. */
static void enter(char **argv)
{
	char program[4096];

	MUST(unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	for (int fd = 0; fd < 3; fd++) {
		char name[64], path[4096] = "";
		int again;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		MUST(readlink(name, path, sizeof(path) - 1) > 0);
		MUST((again = open(path, (fcntl(fd, F_GETFL) & O_ACCMODE) | O_APPEND)) >= 0);
		MUST(dup2(again, fd) == fd && close(again) == 0);
	}
	setenv("VICTIM_INSIDE", "1", 1);
	memset(program, 0, sizeof(program)); /* /proc/self/exe itself leads to the old mount */
	MUST(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	execv(program, argv);
	MUST(0);
}

static int make_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static int listener;

static void make_mounts(void)
{
	struct sockaddr_un name = { AF_UNIX, "t/socket" };

	MUST(mkdir("t", 0700) == 0 && mkdir("ro", 0700) == 0);
	MUST(mount("mine", "t", "tmpfs", MS_NOSUID | MS_NOATIME, "size=1m,mode=751") == 0);
	close(make_file("t/beside", "in a tmpfs"));
	MUST(mkdir("t/part", 0700) == 0 && mount("t/part", "ro", NULL, MS_BIND, NULL) == 0);
	MUST(mount("", "ro", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	MUST((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	MUST(bind(listener, (struct sockaddr *)&name, sizeof(name)) == 0 && listen(listener, 1) == 0);
}

static void same(const char *path, int fd)
{
	struct stat a, b;

	CHECK(stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino,
	      "%s is another file", path);
}

static void check_mounts(const char *who, int fd, const char *mapped)
{
	struct statfs t, ro;
	char text[32] = "";

	CHECK(statfs("t", &t) == 0 && (t.f_flags & (MS_NOSUID | MS_NOATIME)) == (MS_NOSUID | MS_NOATIME),
	      "%s: t is mounted %#lx", who, (long)t.f_flags);
	CHECK(t.f_blocks * t.f_bsize == 1 << 20, "%s: t has %ld blocks", who, (long)t.f_blocks);
	CHECK(statfs("ro", &ro) == 0 && ro.f_flags & MS_RDONLY && ro.f_type == t.f_type, "%s: ro is mounted %#lx", who,
	      (long)ro.f_flags);
	CHECK(mkdir("ro/x", 0700) == -1 && errno == EROFS, "%s: ro can be written", who);
	same("t/open", fd);
	CHECK(pread(fd, text, sizeof(text) - 1, 0) == 6 && strcmp(text, "opened") == 0, "%s: t/open has %s", who, text);
	CHECK(memcmp(mapped, "opened", 6) == 0, "%s: the mapping of t/open has %.6s", who, mapped);
	CHECK(access("t/beside", R_OK) == 0 && access("t/gone", F_OK) == -1, "%s: files are missing, or too many", who);
}

static void check_socket(void)
{
	struct sockaddr_un name = { AF_UNIX, "t/socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0, "connect: %s", strerror(errno));
	close(fd);
}

int main(int argc, char **argv)
{
	int fd, gone, status;
	char *mapped, here[4096];
	pid_t child;

	(void)argc;
	victim_begin();
	if (getenv("VICTIM_INSIDE") == NULL)
		enter(argv);
	make_mounts();
	fd = make_file("t/open", "opened");
	gone = make_file("t/gone", "removed");
	MUST(unlink("t/gone") == 0);
	MUST((mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)) != MAP_FAILED);
	MUST(getcwd(here, sizeof(here)) != NULL);
	MUST((child = fork()) >= 0);
	if (child == 0) {
		MUST(chdir("t/part") == 0);
		sigset_t go;

		sigemptyset(&go);
		sigaddset(&go, SIGUSR1);
		while (sigwaitinfo(&go, NULL) != SIGUSR1)
			;
		same(".", open("../part", O_PATH));
		MUST(chdir(here) == 0);
		check_mounts("child", fd, mapped);
		exit(victim_failures);
	}

	victim_wait();
	check_mounts("parent", fd, mapped);
	check_socket();
	CHECK(pread(gone, here, 7, 0) == 7 && memcmp(here, "removed", 7) == 0, "the removed file has %.7s", here);
	MUST(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child);
	CHECK(status == 0, "child: wait status %#x", status);
	return victim_end();
}
