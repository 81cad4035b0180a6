/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inherit [TERMINAL]: what whoever restores puts in place of the files that were open: a file, one that was dumped as
 * external, one that a child has, too, a pipe, and a terminal that is somebody else's, or its own without one. Says
 * what it finds.
 */
#include "victim.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

int victim_failures;

static int create(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);

	MUST(fd >= 0 && write(fd, "the old one", 11) == 11 && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static const char *own_terminal(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);

	MUST(master >= 0 && unlockpt(master) == 0);
	return ptsname(master);
}

static void show(const char *what, int fd)
{
	char text[64] = "";
	ssize_t n = read(fd, text, sizeof(text) - 1);

	printf("%s: %s\n", what, n < 0 ? strerror(errno) : text);
}

int main(int argc, char **argv)
{
	int named, external, shared, ends[2], go[2], terminal, status;
	struct winsize size = { 17, 71, 0, 0 };
	pid_t child;
	char byte;

	victim_begin();
	named = create("named");
	external = create("external");
	shared = create("shared");
	MUST(pipe(ends) == 0 && pipe(go) == 0);
	MUST((terminal = open(argc > 1 ? argv[1] : own_terminal(), O_RDWR | O_NOCTTY)) >= 0 &&
	     ioctl(terminal, TIOCSWINSZ, &size) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) != 0 || write(shared, "of the child", 12) != 12);
	}

	victim_wait();
	close(go[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's wait status is %#x", status);
	show("named", named);
	show("external", external);
	CHECK(write(shared, " and of the parent", 18) == 18, "shared: %s", strerror(errno));
	CHECK(write(ends[1], " and back", 9) == 9, "pipe: %s", strerror(errno));
	show("pipe", ends[0]);
	CHECK(write(ends[1], "back", 4) == 4, "pipe: %s", strerror(errno));
	memset(&size, 0, sizeof(size));
	CHECK(ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_row == 17 && size.ws_col == 71,
	      "the window of %d by %d", size.ws_row, size.ws_col);
	CHECK(write(terminal, "hello\n", 6) == 6, "terminal: %s", strerror(errno));
	return victim_end();
}
