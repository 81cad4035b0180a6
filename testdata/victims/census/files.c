/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that are no sockets. What /proc/PID/fdinfo says of them the test compares from outside. */
#include "census.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#define MY_EPIOCSPARAMS 0x40088a01
#define MY_EPIOCGPARAMS 0x80088a02

struct busy_poll {
	uint32_t usecs;
	uint16_t budget;
	uint8_t prefer, pad;
};

#define MAX_FDS 40

static struct {
	const char *name;
	int fd;
} fds[MAX_FDS];
static int nr_fds;
static int readable, semaphore, watched, busy, master, slave;

static int keep(const char *name, int fd)
{
	if (fd < 0) {
		lacks(name);
		return fd;
	}
	MUST(nr_fds < MAX_FDS);
	fds[nr_fds].name = name;
	fds[nr_fds++].fd = fd;
	return fd;
}

static void set_regular(void)
{
	static const struct {
		const char *name;
		int flags;
	} flags[] = {
		{ "O_APPEND", O_APPEND | O_RDWR },       { "O_DIRECT", O_DIRECT | O_RDONLY },
		{ "O_NOATIME", O_NOATIME | O_RDONLY },   { "O_SYNC", O_SYNC | O_RDWR },
		{ "O_DSYNC", O_DSYNC | O_WRONLY },       { "O_PATH", O_PATH },
		{ "O_NONBLOCK", O_NONBLOCK | O_RDONLY }, { "O_CLOEXEC", O_CLOEXEC | O_RDONLY },
		{ "O_NOFOLLOW", O_NOFOLLOW | O_RDONLY },
	};
	int fd = keep("file", open("file", O_CREAT | O_RDWR, 0600));

	MUST(fd >= 0 && write(fd, "0123456789", 10) == 10 && lseek(fd, 4, SEEK_SET) == 4);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		keep(flags[i].name, open("file", flags[i].flags));
	keep("O_DIRECTORY", open(".", O_DIRECTORY | O_RDONLY));
}

static void set_pipes(void)
{
	struct f_owner_ex owner = { F_OWNER_TID, getpid() };
	int ends[2];

	MUST(pipe2(ends, O_NONBLOCK) == 0);
	keep("pipe", ends[0]);
	keep("pipe, other end", ends[1]);
	MUST(fcntl(ends[1], F_SETPIPE_SZ, 4096 * 4) > 0);
	MUST(fcntl(ends[0], F_SETOWN_EX, &owner) == 0 && fcntl(ends[0], F_SETSIG, SIGRTMIN + 5) == 0);
	MUST(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
	readable = ends[0];
}

static void set_timerfds(void)
{
	static const struct {
		const char *name;
		int clock;
	} clocks[] = {
		{ "timerfd CLOCK_REALTIME", CLOCK_REALTIME },
		{ "timerfd CLOCK_MONOTONIC", CLOCK_MONOTONIC },
		{ "timerfd CLOCK_BOOTTIME", CLOCK_BOOTTIME },
	};
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
		keep(clocks[i].name, timerfd_create(clocks[i].clock, TFD_NONBLOCK));
}

static void set_events(void)
{
	struct busy_poll poll = { .usecs = 50, .budget = 16, .prefer = 1 };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET | EPOLLWAKEUP, .data.u64 = 0x123456789abcdef };
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 9);
	keep("eventfd", eventfd(5, EFD_NONBLOCK));
	semaphore = keep("eventfd, semaphore", eventfd(7, EFD_SEMAPHORE | EFD_CLOEXEC));
	keep("signalfd", signalfd(-1, &set, SFD_NONBLOCK));
	busy = keep("epoll", epoll_create1(EPOLL_CLOEXEC));
	MUST(epoll_ctl(busy, EPOLL_CTL_ADD, readable, &event) == 0);
	SET("epoll busy polling", ioctl(busy, MY_EPIOCSPARAMS, &poll) == 0);
	fd = keep("inotify", inotify_init1(IN_NONBLOCK));
	MUST(inotify_add_watch(fd, "file", IN_MODIFY | IN_ONESHOT) > 0);
	fd = keep("fanotify", fanotify_init(FAN_NONBLOCK | FAN_UNLIMITED_MARKS, O_RDONLY | O_LARGEFILE));
	MUST(fd < 0 || fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN, AT_FDCWD, "file") == 0);
	keep("pidfd", syscall(SYS_pidfd_open, getpid(), O_NONBLOCK));
}

static void set_memfds(void)
{
	int fd = keep("memfd", memfd_create("census", MFD_ALLOW_SEALING | MFD_CLOEXEC));

	MUST(fd >= 0 && ftruncate(fd, 4096) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	keep("memfd, not executable", memfd_create("plain", 8 /* MFD_NOEXEC_SEAL */));
}

static void set_terminals(void)
{
	struct termios2 locked = { .c_lflag = ECHO }, t;
	struct winsize size = { 11, 22, 33, 44 };
	int yes = 1, no = 0;

	master = keep("terminal", open("/dev/ptmx", O_RDWR | O_NOCTTY));
	MUST(master >= 0 && ioctl(master, TIOCSPTLCK, &no) == 0);
	slave = keep("terminal, other end", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	MUST(slave >= 0 && ioctl(slave, TCGETS2, &t) == 0);
	t.c_cflag = (t.c_cflag & ~(CBAUD | CBAUD << IBSHIFT)) | BOTHER | BOTHER << IBSHIFT;
	t.c_ispeed = 12345, t.c_ospeed = 54321, t.c_cc[VINTR] = 7, t.c_iflag ^= IUTF8;
	MUST(ioctl(slave, TCSETS2, &t) == 0 && ioctl(master, TIOCSWINSZ, &size) == 0);
	MUST(ioctl(master, TIOCPKT, &yes) == 0 && ioctl(slave, TIOCSLCKTRMIOS, &locked) == 0);
}

/* dnotify, fcntl(2): a signal for each file that is made in the directory. */
static void set_dnotify(void)
{
	MUST(mkdir("watched", 0700) == 0);
	watched = keep("dnotify", open("watched", O_RDONLY | O_DIRECTORY));
	SET("dnotify", fcntl(watched, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0);
	MUST(fcntl(watched, F_SETSIG, SIGRTMIN + 4) == 0);
}

void set_files(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	set_regular();
	set_pipes();
	set_timerfds();
	set_events();
	set_memfds();
	set_terminals();
	set_dnotify();
}

static void tell_descriptor(const char *name, int fd)
{
	struct f_owner_ex owner = { 0, 0 };
	char key[64];

	snprintf(key, sizeof(key), "fd %s", name);
	fcntl(fd, F_GETOWN_EX, &owner);
	fact(key, "flags %#x cloexec %d owner %d %d signal %d lease %d pipe %d seals %#x", fcntl(fd, F_GETFL),
	     fcntl(fd, F_GETFD), owner.type, owner.pid, fcntl(fd, F_GETSIG), fcntl(fd, F_GETLEASE),
	     fcntl(fd, F_GETPIPE_SZ), fcntl(fd, F_GET_SEALS));
}

static void tell_terminals(void)
{
	struct termios2 t;
	struct winsize size = { 0, 0, 0, 0 };
	int value = -1;

	memset(&t, 0, sizeof(t));
	ioctl(slave, TCGETS2, &t);
	fact_bytes("TCGETS2", &t, sizeof(t));
	memset(&t, 0, sizeof(t));
	ioctl(slave, TIOCGLCKTRMIOS, &t);
	fact("TIOCGLCKTRMIOS", "%#x", t.c_lflag);
	ioctl(slave, TIOCGWINSZ, &size);
	fact_bytes("TIOCGWINSZ", &size, sizeof(size));
	ioctl(master, TIOCGPKT, &value);
	fact("TIOCGPKT", "%d", value);
	ioctl(master, TIOCGPTLCK, &value);
	fact("TIOCGPTLCK", "%d", value);
	ioctl(slave, TIOCGEXCL, &value);
	fact("TIOCGEXCL", "%d", value);
}

static int dnotify_tells(void)
{
	struct timespec soon = { 1, 0 };
	siginfo_t info;
	sigset_t set;
	int told;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	close(open("watched/new", O_CREAT | O_WRONLY, 0600));
	unlink("watched/new");
	told = sigtimedwait(&set, &info, &soon) == SIGRTMIN + 4;
	return told;
}

void tell_files(void)
{
	struct busy_poll poll = { 0, 0, 0, 0 };
	uint64_t count = 0;

	for (int i = 0; i < nr_fds; i++)
		tell_descriptor(fds[i].name, fds[i].fd);
	MUST(read(semaphore, &count, sizeof(count)) == sizeof(count));
	fact("EFD_SEMAPHORE", "%lu read at once", count);
	MUST(write(semaphore, &count, sizeof(count)) == sizeof(count));
	ioctl(busy, MY_EPIOCGPARAMS, &poll);
	fact("epoll busy polling", "%u %u %u", poll.usecs, poll.budget, poll.prefer);
	tell_terminals();
}

void tell_dnotify(void)
{
	fact("dnotify", "%s", dnotify_tells() ? "tells" : "silent");
}
