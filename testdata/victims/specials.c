/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are not quite regular: of this process, a child, a later one and one that has ended in /proc, shared with
 * the child; namespaces; devices; a file that never had a name (O_TMPFILE); directories; a large pipe, which is full,
 * and one that is open for reading and writing.
 */
#include "victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

int victim_failures;

#define LARGE (256 << 10)

static int status_file, childs_status, later_comm, own_fdinfo, task_dir, mem, uptime, ended_status, ended_dir, ns[3],
	devices[5], unnamed, dir, shm;
static int plain[2], large[2], both, talk[2];
static pid_t child, later;
static const char *const ns_names[] = { "net", "mnt", "pid" };
static const struct {
	const char *name;
	int flags, minor;
} device[] = { { "null", O_RDWR, 3 },
	       { "zero", O_RDONLY, 5 },
	       { "full", O_WRONLY, 7 },
	       { "random", O_RDONLY | O_NONBLOCK, 8 },
	       { "urandom", O_RDONLY, 9 } };

static int must_open(const char *name, int flags)
{
	int fd = open(name, flags, 0600);

	MUST(fd >= 0);
	return fd;
}

static int of_task(pid_t pid, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return must_open(path, flags);
}

/* Whether what is read from a file has a line. */
static int says(int fd, const char *format, int value)
{
	char want[128], text[8192];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	snprintf(want, sizeof(want), format, value);
	text[n > 0 ? n : 0] = 0;
	return strstr(text, want) != NULL;
}

static void wait_for_end(void)
{
	char byte;

	close(talk[1]);
	CHECK(read(talk[0], &byte, 1) == 0, "the child is told something");
	/* the description is shared, its position too */
	CHECK(lseek(status_file, 0, SEEK_CUR) == 10, "the child finds position %ld",
	      (long)lseek(status_file, 0, SEEK_CUR));
	CHECK(says(status_file, "\nPid:\t%d\n", getppid()), "the child's file is of another process");
	fflush(stdout);
	_exit(victim_failures);
}

static void setup_ended(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0)
		pause();
	ended_status = of_task(pid, "status", O_RDONLY);
	ended_dir = of_task(pid, "", O_RDONLY | O_DIRECTORY);
	MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static pid_t start(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0)
		wait_for_end();
	return pid;
}

static void setup_proc(void)
{
	char byte;

	MUST(pipe(talk) == 0);
	setup_ended();
	status_file = must_open("/proc/self/status", O_RDONLY);
	MUST(read(status_file, &byte, 1) == 1);
	child = start();
	childs_status = of_task(child, "status", O_RDONLY | O_CLOEXEC);
	mem = of_task(child, "mem", O_RDWR);
	later = start();
	later_comm = of_task(later, "comm", O_RDONLY);
	uptime = must_open("/proc/uptime", O_RDONLY);
	task_dir = must_open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	own_fdinfo = of_task(getpid(), "fdinfo/1", O_RDONLY);
	for (int i = 0; i < 3; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_names[i]);
		ns[i] = must_open(path, O_RDONLY);
	}
}

static void check_proc(void)
{
	int value = 0;
	char line[256];

	CHECK(lseek(status_file, 0, SEEK_CUR) == 1, "position %ld", (long)lseek(status_file, 0, SEEK_CUR));
	CHECK(lseek(status_file, 10, SEEK_SET) == 10 && says(status_file, "\nPid:\t%d\n", getpid()),
	      "the status of itself");
	CHECK(says(childs_status, "\nPid:\t%d\n", child) && fcntl(childs_status, F_GETFD) == FD_CLOEXEC,
	      "the status of the child");
	CHECK(pread(mem, &value, sizeof(value), (off_t)&child) == sizeof(value) && value == 0,
	      "the child's memory has %d: %s", value, strerror(errno));
	CHECK(says(later_comm, "specials\n", 0), "the later child's name");
	CHECK(read(uptime, line, sizeof(line)) > 0, "uptime");
	CHECK(says(own_fdinfo, "flags:\t0%o", O_LARGEFILE | O_WRONLY), "fdinfo");
	CHECK(read(ended_status, line, 1) < 0 && errno == ESRCH && faccessat(ended_dir, "status", R_OK, 0) < 0,
	      "the process that has ended: %s", strerror(errno));
	CHECK(faccessat(task_dir, "../comm", R_OK, 0) == 0, "the directory of threads");
}

static void check_ns(void)
{
	for (int i = 0; i < 3; i++) {
		char path[64];
		struct stat is, own;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_names[i]);
		CHECK(fstat(ns[i], &is) == 0 && stat(path, &own) == 0 && is.st_ino == own.st_ino, "namespace %s",
		      ns_names[i]);
	}
}

static void setup_files(void)
{
	for (int i = 0; i < 5; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/dev/%s", device[i].name);
		devices[i] = must_open(path, device[i].flags);
	}
	unnamed = must_open(".", O_TMPFILE | O_RDWR);
	MUST(write(unnamed, "never named", 11) == 11 && lseek(unnamed, 6, SEEK_SET) == 6);
	MUST(mkdir("dir", 0700) == 0 && close(must_open("dir/file", O_CREAT | O_WRONLY)) == 0);
	dir = must_open("dir", O_RDONLY | O_DIRECTORY);
	shm = must_open("/dev/shm", O_RDONLY | O_DIRECTORY);
}

static void check_files(void)
{
	char text[16] = "";
	struct stat st;

	for (int i = 0; i < 5; i++)
		CHECK(fstat(devices[i], &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, device[i].minor) &&
			      (fcntl(devices[i], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == device[i].flags,
		      "/dev/%s", device[i].name);
	CHECK(read(unnamed, text, sizeof(text)) == 5 && strcmp(text, "named") == 0 && fstat(unnamed, &st) == 0 &&
		      st.st_nlink == 0,
	      "the unnamed file: %s", text);
	CHECK(faccessat(dir, "file", R_OK, 0) == 0, "the directory");
	CHECK(fstat(shm, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX), "/dev/shm");
}

static void setup_pipes(void)
{
	char path[64];
	char *fill = malloc(LARGE);

	MUST(pipe(plain) == 0 && pipe(large) == 0 && fcntl(large[1], F_SETPIPE_SZ, LARGE) == LARGE);
	memset(fill, 'l', LARGE);
	MUST(write(large[1], fill, LARGE) == LARGE);
	free(fill);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain[0]);
	both = must_open(path, O_RDWR);
}

static void check_pipes(void)
{
	char text[16] = "", *got = malloc(LARGE);
	ssize_t n = 0, more;

	CHECK(fcntl(large[0], F_GETPIPE_SZ) == LARGE && fcntl(plain[0], F_GETPIPE_SZ) == 64 << 10, "sizes of pipes");
	while (n < LARGE && (more = read(large[0], got, LARGE)) > 0)
		n += more;
	CHECK(n == LARGE && got[0] == 'l', "%zd bytes in the large pipe", n);
	free(got);
	CHECK(write(plain[1], "one", 3) == 3 && (fcntl(both, F_GETFL) & O_ACCMODE) == O_RDWR &&
		      read(both, text, sizeof(text)) == 3 && write(both, "x", 1) == 1 && read(plain[0], text, 3) == 1,
	      "a pipe for reading and writing");
}

int main(void)
{
	int status;

	victim_begin();
	setup_files();
	setup_pipes();
	setup_proc();

	victim_wait();
	check_proc();
	check_ns();
	check_files();
	check_pipes();
	close(talk[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0 && waitpid(later, &status, 0) == later && status == 0,
	      "a child's wait status is %#x", status);
	return victim_end();
}
