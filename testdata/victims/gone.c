/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gone [plain]: files, a fifo, a directory and the working directory of a tree that has been removed (rm -rf); one of
 * its names is a file's by now, and one of its directories is open, but for "plain": criu restore gives up there, and
 * leaves directories behind. Descriptors of symbolic links (O_PATH with O_NOFOLLOW): existing, dangling, to a
 * directory, deleted. A deleted device.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LINK (O_PATH | O_NOFOLLOW)

int victim_failures;

static char home[4096];
static int file, other, dir, fifo, existing, dangling, to_dir, dead_link, device;

static void make_tree(int plain)
{
	MUST(mkdir("a", 0755) == 0 && mkdir("a/b", 0751) == 0 && mkdir("a/b/cwd", 0700) == 0 &&
	     mkdir("taken", 0755) == 0);
	MUST((file = open("a/b/file", O_CREAT | O_RDWR, 0640)) >= 0 && write(file, "contents", 8) == 8);
	MUST((other = open("taken/file", O_CREAT | O_RDWR, 0640)) >= 0 && write(other, "more", 4) == 4);
	MUST(mkfifo("a/fifo", 0600) == 0 && (fifo = open("a/fifo", O_RDWR)) >= 0 && write(fifo, "x", 1) == 1);
	MUST(plain || (dir = open("a/b", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST(symlink("nowhere", "a/link") == 0 && (dead_link = open("a/link", LINK)) >= 0);
	MUST(fchownat(dead_link, "", 12, 34, AT_EMPTY_PATH) == 0);
	MUST(mknod("a/null", S_IFCHR | 0622, makedev(1, 3)) == 0 && (device = open("a/null", O_RDWR)) >= 0);
	MUST(fchown(device, 5, 6) == 0);
}

static void make_links(void)
{
	MUST(symlink("/etc/hostname", "existing") == 0 && (existing = open("existing", LINK | O_CLOEXEC)) >= 0);
	MUST(symlink("/nonexistent", "dangling") == 0 && (dangling = open("dangling", LINK)) >= 0);
	MUST(symlink(".", "to_dir") == 0 && (to_dir = open("to_dir", LINK)) >= 0);
}

static void remove_tree(int plain)
{
	MUST(chdir("a/b/cwd") == 0);
	MUST(setenv("HOME", home, 1) == 0 && system("cd \"$HOME\" && rm -rf a taken") == 0);
	MUST(plain || system(": >\"$HOME/taken\"") == 0);
}

static void check_name(int fd, const char *want)
{
	char path[64], link[8192] = "", name[8192];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(name, sizeof(name), "%s/%s", home, want);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, name) == 0, "the name of %s is %s", want,
	      link);
}

static void check_mode(const char *what, int fd, mode_t mode, int links, uid_t uid, gid_t gid)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0 && st.st_mode == mode && (int)st.st_nlink == links && st.st_uid == uid &&
		      st.st_gid == gid,
	      "%s: mode %#o, %ju links, owner %d.%d", what, st.st_mode, (uintmax_t)st.st_nlink, st.st_uid, st.st_gid);
}

static void check_link(const char *what, int fd, int links, const char *want)
{
	char target[256] = "";
	struct stat st;

	CHECK(fstat(fd, &st) == 0 && S_ISLNK(st.st_mode) && (int)st.st_nlink == links, "%s: mode %#o", what,
	      st.st_mode);
	CHECK(readlinkat(fd, "", target, sizeof(target) - 1) > 0 && strcmp(target, want) == 0, "%s: leads to %s", what,
	      target);
	CHECK((fcntl(fd, F_GETFL) & LINK) == LINK, "%s: flags %#o", what, fcntl(fd, F_GETFL));
}

static void check_tree(int plain)
{
	char buf[16] = "";
	struct stat st;

	check_name(file, "a/b/file (deleted)");
	check_mode("file", file, S_IFREG | 0640, 0, 0, 0);
	CHECK(pread(file, buf, 8, 0) == 8 && memcmp(buf, "contents", 8) == 0, "file: %s", buf);
	check_mode("other", other, S_IFREG | 0640, 0, 0, 0);
	CHECK(pread(other, buf, 4, 0) == 4 && memcmp(buf, "more", 4) == 0, "other: %s", buf);
	check_name(fifo, "a/fifo (deleted)");
	CHECK(read(fifo, buf, 1) == 1 && buf[0] == 'x', "fifo");
	if (!plain) {
		check_name(dir, "a/b (deleted)");
		CHECK(fstat(dir, &st) == 0 && st.st_mode == (S_IFDIR | 0751), "directory: mode %#o", st.st_mode);
	}
	CHECK(stat(".", &st) == 0 && st.st_mode == (S_IFDIR | 0700) && getcwd(buf, sizeof(buf)) == NULL &&
		      errno == ENOENT,
	      "cwd");
}

static void check_device(void)
{
	struct stat st;

	check_name(device, "a/null (deleted)");
	check_mode("device", device, S_IFCHR | 0622, 0, 5, 6);
	CHECK(fstat(device, &st) == 0 && st.st_rdev == makedev(1, 3) && write(device, "x", 1) == 1, "device %#jx",
	      (uintmax_t)st.st_rdev);
}

/* What was removed has not come back. */
static void check_home(void)
{
	char path[4096 + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/a", home);
	CHECK(stat(path, &st) < 0 && errno == ENOENT, "%s is there", path);
	snprintf(path, sizeof(path), "%s/taken", home);
	CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode), "%s is not a file", path);
}

int main(int argc, char **argv)
{
	int plain = argc > 1 && strcmp(argv[1], "plain") == 0;

	victim_begin();
	umask(0);
	MUST(getcwd(home, sizeof(home)));
	make_tree(plain);
	make_links();
	remove_tree(plain);

	victim_wait();
	check_tree(plain);
	check_device();
	check_link("existing", existing, 1, "/etc/hostname");
	CHECK(fcntl(existing, F_GETFD) == FD_CLOEXEC, "existing: not close-on-exec");
	check_link("dangling", dangling, 1, "/nonexistent");
	check_link("to a directory", to_dir, 1, ".");
	check_link("deleted", dead_link, 0, "nowhere");
	check_mode("deleted", dead_link, S_IFLNK | 0777, 0, 12, 34);
	if (!plain)
		check_home();
	return victim_end();
}
