/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptys [plain]: pseudo-terminals, pty(7). One is the controlling terminal of a child's session, in which a grandchild
 * is the foreground process group: settings, window size, owner and mode of the slave, two descriptions of it, lines
 * that wait for the child and output that waits for the parent. One is the parent's own controlling terminal, which it
 * also has as /dev/tty. One has only a master, in packet mode, locked and exclusive. One has lost its master: its slave
 * is hung up. So is one that vhangup(2) has been used on. And there is the console. "plain" leaves out what CRIU does
 * not bring back: contents as they were, exclusive terminals, the controlling terminal of who does not lead its
 * session, a slave that is hung up and has a master.
 */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

int victim_failures;

static int plain, master, slave, nonblocking, own, tty, lone, hung, left, ended, console, report[2];
static char name[64];
static pid_t child, grandchild;

static int open_master(void)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);

	MUST(fd >= 0 && unlockpt(fd) == 0 && ptsname_r(fd, name, sizeof(name)) == 0);
	return fd;
}

static void configure(int fd)
{
	struct termios t;
	struct winsize size = { 41, 97, 3, 5 };

	MUST(tcgetattr(fd, &t) == 0);
	t.c_iflag |= ICRNL | IUTF8;
	t.c_oflag |= OPOST | ONLCR;
	t.c_lflag |= ICANON | ECHO | ISIG | TOSTOP | NOFLSH;
	t.c_cc[VINTR] = 'G' - '@';
	t.c_cc[VMIN] = 7;
	MUST(tcsetattr(fd, TCSANOW, &t) == 0 && ioctl(fd, TIOCSWINSZ, &size) == 0);
	MUST(fchown(fd, 12, 34) == 0 && fchmod(fd, 0624) == 0);
}

static void check_settings(int fd)
{
	struct termios t;
	struct winsize size;
	struct stat st;

	CHECK(tcgetattr(fd, &t) == 0 && (t.c_lflag & (ICANON | ECHO | ISIG | TOSTOP | NOFLSH)) ==
						(ICANON | ECHO | ISIG | TOSTOP | NOFLSH),
	      "local modes %#x", t.c_lflag);
	CHECK((t.c_iflag & (ICRNL | IUTF8)) == (ICRNL | IUTF8) && (t.c_oflag & ONLCR), "modes %#x, %#x", t.c_iflag,
	      t.c_oflag);
	CHECK(t.c_cc[VINTR] == 'G' - '@' && t.c_cc[VMIN] == 7 && t.c_cc[VERASE] == 0x7f, "control characters");
	CHECK(ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row == 41 && size.ws_col == 97 && size.ws_xpixel == 3 &&
		      size.ws_ypixel == 5,
	      "window of %d by %d", size.ws_row, size.ws_col);
	CHECK(fstat(fd, &st) == 0 && st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 0624,
	      "owner %d, %d, mode %#o", st.st_uid, st.st_gid, st.st_mode);
}

static void check_line(int fd, const char *want)
{
	char line[64] = "";
	ssize_t n = read(fd, line, sizeof(line) - 1);

	CHECK(n == (ssize_t)strlen(want) && strcmp(line, want) == 0, "reads %zd bytes, \"%s\", want \"%s\"", n, line,
	      want);
}

/* The foreground process group: a key reaches it. */
static void be_foreground(void)
{
	sigset_t interrupt;
	int fd;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigaddset(&interrupt, SIGTTOU);
	MUST(sigprocmask(SIG_BLOCK, &interrupt, NULL) == 0);
	MUST(setpgid(0, 0) == 0 && tcsetpgrp(slave, getpid()) == 0);
	MUST(write(slave, "out\n", 4) == 4 && write(report[1], "f", 1) == 1);
	sigdelset(&interrupt, SIGTTOU);
	while (sigwaitinfo(&interrupt, NULL) != SIGINT)
		;
	if (plain)
		_exit(0);
	CHECK(tcgetsid(slave) == getppid() && tcgetpgrp(slave) == getpid(), "the grandchild's terminal");
	fd = open("/dev/tty", O_RDWR);
	CHECK(fd >= 0, "the grandchild has no controlling terminal: %s", strerror(errno));
	_exit(victim_failures);
}

static void lead_session(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTTIN);
	sigaddset(&set, SIGTTOU);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	close(master);
	close(own);
	close(tty);
	MUST(setsid() > 0 && (slave = open(name, O_RDWR)) >= 0);
	MUST((nonblocking = open(name, O_WRONLY | O_NONBLOCK)) >= 0);
	configure(slave);
}

/* The leader of the session. */
static void lead(void)
{
	int status;

	lead_session();
	MUST((grandchild = fork()) >= 0);
	if (grandchild == 0)
		be_foreground();
	MUST(waitpid(grandchild, &status, 0) == grandchild);
	CHECK(status == 0, "the grandchild's wait status is %#x", status);
	MUST((tty = open("/dev/tty", O_RDWR)) >= 0);
	CHECK(tcgetsid(tty) == getpid() && tcsetpgrp(tty, getpgrp()) == 0 && tcgetpgrp(slave) == getpgrp(),
	      "the child's terminal");
	check_settings(slave);
	if (!plain) {
		check_line(tty, "one\n");
		check_line(slave, "two\n");
	}
	CHECK((fcntl(nonblocking, F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_WRONLY), "flags %#x",
	      fcntl(nonblocking, F_GETFL));
	CHECK(write(tty, "end\n", 4) == 4, "the child cannot write to /dev/tty: %s", strerror(errno));
	fflush(stdout);
	_exit(victim_failures);
}

static void setup_own(void)
{
	int on = 1;

	own = open_master();
	MUST(open(name, O_RDWR | O_CLOEXEC) >= 0 && (tty = open("/dev/tty", O_WRONLY | O_APPEND)) >= 0);
	MUST(ioctl(own, TIOCPKT, &on) == 0 && (plain || write(tty, "old", 3) == 3));
}

static void check_own(void)
{
	char text[16] = "";
	int again = open("/dev/tty", O_RDWR);

	CHECK(again >= 0 && tcgetsid(again) == getpid() && tcgetpgrp(tty) == getpgrp(), "the parent's own terminal");
	CHECK((fcntl(tty, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == (O_WRONLY | O_APPEND), "flags %#x",
	      fcntl(tty, F_GETFL));
	CHECK(plain || (read(own, text, sizeof(text)) == 4 && memcmp(text, "\0old", 4) == 0), "the packet is %s",
	      text + 1);
	CHECK(write(tty, "to me", 5) == 5 && read(own, text, sizeof(text)) == 6 && memcmp(text, "\0to me", 6) == 0,
	      "/dev/tty is not its own: %s", text + 1);
}

static void setup_lone(void)
{
	int on = 1;

	MUST((lone = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0);
	MUST(ioctl(lone, TIOCPKT, &on) == 0 && ioctl(lone, TIOCEXCL) == 0);
}

static void check_lone(void)
{
	int locked = 0, packets = 0, exclusive = 0;

	CHECK(ioctl(lone, TIOCGPTLCK, &locked) == 0 && locked == 1, "the lone one is not locked");
	CHECK(ioctl(lone, TIOCGPKT, &packets) == 0 && packets == 1, "the lone one is not in packet mode");
	CHECK(plain || (ioctl(lone, TIOCGEXCL, &exclusive) == 0 && exclusive == 1), "the lone one is not exclusive");
}

/* As login(1) does, to be rid of whoever has the terminal open. */
static void setup_ended(void)
{
	left = open_master();
	MUST((ended = open(name, O_RDWR | O_NOCTTY)) >= 0 && ioctl(ended, TIOCVHANGUP) == 0 &&
	     fcntl(left, F_SETFL, O_NONBLOCK) == 0);
}

static void check_ended(void)
{
	char byte;

	CHECK(read(ended, &byte, 1) == 0 && write(ended, "x", 1) < 0 && errno == EIO, "the slave is not hung up");
	CHECK(read(left, &byte, 1) < 0 && errno == EAGAIN, "its master can be read: %s", strerror(errno));
}

static void check_console(void)
{
	struct termios t;

	CHECK(tcgetattr(console, &t) == 0 && fcntl(console, F_GETFL) & O_NONBLOCK, "console: %s", strerror(errno));
}

static int hung_master(void)
{
	int fd = open_master();

	MUST((hung = open(name, O_RDWR | O_NOCTTY)) >= 0);
	return fd;
}

static void check_hung(void)
{
	struct termios t;
	char byte;

	CHECK(read(hung, &byte, 1) == 0, "the hung up one can be read");
	CHECK(write(hung, "x", 1) < 0 && errno == EIO, "the hung up one can be written to");
	CHECK(tcgetattr(hung, &t) < 0 && errno == EIO, "the hung up one has settings");
}

/* What the slave wrote, with its newline made CR and LF, once; then what appears later. */
static void check_output(const char *want)
{
	struct pollfd p = { master, POLLIN, 0 };
	char text[128] = "";
	size_t n = 0;

	while (n < strlen(want) && poll(&p, 1, 10000) == 1) {
		ssize_t got = read(master, text + n, strlen(want) - n);

		if (got <= 0)
			break;
		n += got;
	}
	CHECK(strcmp(text, want) == 0, "the master has \"%s\", want \"%s\"", text, want);
}

int main(int argc, char **argv)
{
	char byte;
	int status, index = -1, was;

	victim_begin();
	plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	close(hung_master());
	setup_lone();
	setup_own();
	MUST((console = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	if (!plain) {
		setup_ended();
		check_ended();
	}
	master = open_master();
	MUST(ioctl(master, TIOCGPTN, &was) == 0);
	MUST(pipe(report) == 0 && (child = fork()) >= 0);
	if (child == 0)
		lead();
	MUST(read(report[0], &byte, 1) == 1);
	check_output("out\r\n");
	if (!plain) {
		MUST(write(master, "one\rtwo\n", 8) == 8);
		check_output("one\r\n");
	}

	victim_wait();
	if (!plain)
		check_output("two\r\n");
	CHECK(ioctl(master, TIOCGPTN, &index) == 0 && index == was && strcmp(ptsname(master), name) == 0,
	      "number %d, was %d", index, was);
	check_own();
	check_lone();
	check_hung();
	if (!plain)
		check_ended();
	CHECK(write(master, &(char){ 'G' - '@' }, 1) == 1, "the key cannot be pressed");
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's wait status is %#x", status);
	check_output("^Gend\r\n");
	check_console();
	return victim_end();
}
