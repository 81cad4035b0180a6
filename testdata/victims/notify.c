/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify [plain|foreign]: what tells about changes of files: inotify(7) with watches of a directory, a file, one that
 * is deleted, one on another file system and one that has lost the name by which it is watched, with gaps between their
 * numbers; fanotify(7) with marks of a directory and of a mount, with and without events that are ignored. A child has
 * the same inotify descriptor. "plain" leaves out what CRIU does not bring back: the watches of the deleted file and
 * for one event. With "foreign" there is only the watch of a file that somebody else deletes and writes to.
 */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

int victim_failures;

static int plain, inotify, other, deleted, fanotify;
static int wd_dir, wd_file, wd_deleted, wd_once, wd_shm, wd_link;
static char shm[64];

static void touch(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	if (fd >= 0) {
		write(fd, "x", 1);
		close(fd);
	}
}

/* Takes numbers until the next one is. */
static void skip_to(int next)
{
	int wd;

	do {
		MUST((wd = inotify_add_watch(inotify, "/", IN_MOVE_SELF)) > 0 && wd < next);
		MUST(inotify_rm_watch(inotify, wd) == 0);
	} while (wd < next - 1);
}

static void drain(int fd)
{
	char buf[4096];
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void setup_inotify(void)
{
	MUST(mkdir("dir", 0700) == 0);
	touch("file");
	MUST((deleted = open("deleted", O_RDWR | O_CREAT, 0600)) >= 0);
	snprintf(shm, sizeof(shm), "/dev/shm/crpie-notify-%d", getpid());
	MUST((inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) >= 0 && (other = inotify_init1(0)) >= 0);
	MUST((wd_dir = inotify_add_watch(inotify, "dir", IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK)) == 1);
	skip_to(5);
	MUST((wd_file = inotify_add_watch(inotify, "file", IN_MODIFY | IN_CLOSE_WRITE)) == 5);
	skip_to(9);
	MUST((wd_deleted = inotify_add_watch(inotify, "deleted", IN_MODIFY)) == 9);
	MUST((wd_once = inotify_add_watch(inotify, ".", IN_MOVED_TO | IN_ONESHOT)) == 10);
	MUST((wd_shm = inotify_add_watch(inotify, "/dev/shm", IN_ATTRIB)) == 11);
	touch("first");
	MUST(link("first", "second") == 0 && (wd_link = inotify_add_watch(inotify, "first", IN_CLOSE_WRITE)) == 12);
	MUST(unlink("first") == 0 && inotify_add_watch(other, "dir", IN_ALL_EVENTS) == 1);
	MUST(unlink("deleted") == 0);
	drain(inotify);
}

/* The next event; nothing else may come. */
static void expect(int fd, int wd, uint32_t mask, const char *name)
{
	union {
		struct inotify_event event;
		char room[512];
	} buf = { 0 };
	struct pollfd p = { fd, POLLIN, 0 };
	ssize_t n = poll(&p, 1, 1000) == 1 ? read(fd, &buf, sizeof(buf.event) + (name ? 16 : 0)) : -1;

	CHECK(n > 0 && buf.event.wd == wd && buf.event.mask == mask &&
		      strcmp(name ? name : "", buf.event.len ? buf.event.name : "") == 0,
	      "event %#x of %d, want %#x of %d %s", buf.event.mask, buf.event.wd, mask, wd, name ? name : "");
}

static void check_quiet(int fd, const char *what)
{
	struct pollfd p = { fd, POLLIN, 0 };

	CHECK(poll(&p, 1, 0) == 0, "%s has an event", what);
}

static void check_inotify(void)
{
	struct stat st;

	check_quiet(inotify, "inotify");
	check_quiet(other, "the other inotify");
	touch("dir/new");
	expect(inotify, wd_dir, IN_CREATE, "new");
	expect(other, 1, IN_CREATE, "new");
	touch("file");
	expect(inotify, wd_file, IN_MODIFY, NULL);
	expect(inotify, wd_file, IN_CLOSE_WRITE, NULL);
	touch("second");
	expect(inotify, wd_link, IN_CLOSE_WRITE, NULL);
	if (!plain) {
		CHECK(write(deleted, "x", 1) == 1, "the deleted file");
		expect(inotify, wd_deleted, IN_MODIFY, NULL);
		rename("dir/new", "moved");
		expect(inotify, wd_once, IN_MOVED_TO, "moved");
		expect(inotify, wd_once, IN_IGNORED, NULL);
		CHECK(inotify_rm_watch(inotify, wd_once) < 0, "a watch for one event is still there");
	}
	CHECK(stat("/dev/shm", &st) == 0 && chmod("/dev/shm", st.st_mode & 07777) == 0, "/dev/shm: %s",
	      strerror(errno));
	expect(inotify, wd_shm, IN_ATTRIB | IN_ISDIR, NULL);
	check_quiet(inotify, "inotify, in the end,");
	CHECK((fcntl(inotify, F_GETFL) & O_NONBLOCK) && !(fcntl(other, F_GETFL) & O_NONBLOCK), "flags");
	unlink("moved");
}

static void setup_fanotify(void)
{
	MUST((fanotify = fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE, O_RDONLY | O_LARGEFILE)) >= 0);
	MUST(fanotify_mark(fanotify, FAN_MARK_ADD, FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, AT_FDCWD, "dir") == 0);
	MUST(fanotify_mark(fanotify, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_MODIFY, AT_FDCWD, "/dev/shm") == 0);
	MUST(fanotify_mark(fanotify, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_MODIFY,
			   AT_FDCWD, "file") == 0);
}

/* Whether it tells of one event of a file that has the name. */
static void expect_fanotify(uint64_t mask, const char *suffix)
{
	struct fanotify_event_metadata e = { .fd = -1 };
	char link[64], path[256] = "";
	size_t len;

	CHECK(read(fanotify, &e, sizeof(e)) == sizeof(e) && e.mask == mask, "fanotify event %#llx",
	      (unsigned long long)e.mask);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", e.fd);
	CHECK(readlink(link, path, sizeof(path) - 1) > 0 && (len = strlen(path)) >= strlen(suffix) &&
		      strcmp(path + len - strlen(suffix), suffix) == 0,
	      "fanotify event of %s, want %s", path, suffix);
	close(e.fd);
}

static void check_fanotify(void)
{
	drain(fanotify); /* others write to the mount, too */
	touch("dir/new");
	expect_fanotify(FAN_CLOSE_WRITE, "/dir/new");
	touch(shm);
	expect_fanotify(FAN_MODIFY, shm);
	unlink(shm);
	unlink("dir/new");
	drain(inotify);
	drain(other);
}

static int watch_foreign(void)
{
	touch("foreign");
	MUST((inotify = inotify_init1(IN_NONBLOCK)) >= 0);
	MUST((wd_file = inotify_add_watch(inotify, "foreign", IN_MODIFY)) == 1);

	victim_wait();
	expect(inotify, wd_file, IN_MODIFY, NULL);
	return victim_end();
}

int main(int argc, char **argv)
{
	int status, fd;
	pid_t child;

	victim_begin();
	plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	if (argc > 1 && strcmp(argv[1], "foreign") == 0)
		return watch_foreign();
	setup_inotify();
	setup_fanotify();
	MUST((child = fork()) >= 0);
	if (child == 0) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		while (sigwaitinfo(&set, NULL) != SIGTERM)
			;
		_exit(inotify_rm_watch(inotify, wd_file) != 0);
	}

	victim_wait();
	check_fanotify();
	check_inotify();
	kill(child, SIGTERM);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's wait status is %#x", status);
	expect(inotify, wd_file, IN_IGNORED, NULL);
	CHECK((fd = inotify_add_watch(inotify, "dir", IN_MASK_CREATE | IN_CREATE)) < 0,
	      "the directory is not watched any more");
	return victim_end();
}
