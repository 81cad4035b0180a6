/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

static int rdwr, rdonly, append, twin, null, zero, urandom, pipe_fds[2], event, epoll;
static char cwd[4096];

void files_setup(void)
{
	struct epoll_event on_pipe = { .events = EPOLLIN, .data.u64 = 0x1111222233334444 };
	struct epoll_event on_event = { .events = EPOLLIN | EPOLLET, .data.u64 = 0x5555666677778888 };

	MUST(mkdir("subdir", 0755) == 0 || errno == EEXIST);
	MUST(chdir("subdir") == 0);
	MUST(getcwd(cwd, sizeof(cwd)));
	umask(027);
	MUST((rdwr = open("rdwr", O_RDWR | O_CREAT | O_TRUNC, 0644)) >= 0);
	MUST(write(rdwr, "0123456789", 10) == 10 && lseek(rdwr, 5, SEEK_SET) == 5);
	MUST((rdonly = open("rdwr", O_RDONLY | O_CLOEXEC)) >= 0 && lseek(rdonly, 3, SEEK_SET) == 3);
	MUST((append = open("append", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644)) >= 0);
	MUST(write(append, "one ", 4) == 4);
	MUST((twin = fcntl(rdwr, F_DUPFD_CLOEXEC, 100)) == 100);
	MUST((null = open("/dev/null", O_RDWR)) >= 0 && (zero = open("/dev/zero", O_RDONLY)) >= 0);
	MUST((urandom = open("/dev/urandom", O_RDONLY | O_NONBLOCK)) >= 0);
	MUST(pipe2(pipe_fds, O_NONBLOCK) == 0 && fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 17) == 1 << 17);
	MUST(write(pipe_fds[1], "pipe contents", 13) == 13);
	MUST((event = eventfd(42, EFD_NONBLOCK)) >= 0);
	MUST((epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_fds[0], &on_pipe) == 0);
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &on_event) == 0);
}

static void check_regular(void)
{
	char buf[32];
	ssize_t n;

	n = read(rdwr, buf, 2);
	CHECK(n == 2 && memcmp(buf, "56", 2) == 0, "rdwr reads %zd bytes %.2s, want 56", n, buf);
	CHECK(lseek(twin, 0, SEEK_CUR) == 7, "the dup'ed descriptor is at %ld, want 7", lseek(twin, 0, SEEK_CUR));
	n = read(rdonly, buf, 3);
	CHECK(n == 3 && memcmp(buf, "345", 3) == 0, "rdonly reads %zd bytes %.3s, want 345", n, buf);
	CHECK(write(rdonly, "x", 1) == -1, "rdonly is writable");
	lseek(append, 0, SEEK_SET);
	CHECK(write(append, "two", 3) == 3, "cannot write to append");
	int again = open("append", O_RDONLY);
	n = read(again, buf, sizeof(buf));
	CHECK(n == 7 && memcmp(buf, "one two", 7) == 0, "append has %zd bytes %.*s", n, (int)(n < 0 ? 0 : n), buf);
	close(again);
}

static void check_flags(void)
{
	CHECK(fcntl(rdonly, F_GETFD) == FD_CLOEXEC, "rdonly: FD_CLOEXEC is %d", fcntl(rdonly, F_GETFD));
	CHECK(fcntl(twin, F_GETFD) == FD_CLOEXEC && fcntl(rdwr, F_GETFD) == 0, "FD_CLOEXEC of rdwr or its twin");
	CHECK(fcntl(append, F_GETFL) & O_APPEND, "append: flags %#o", fcntl(append, F_GETFL));
	CHECK(fcntl(urandom, F_GETFL) & O_NONBLOCK, "urandom: flags %#o", fcntl(urandom, F_GETFL));
	CHECK(fcntl(pipe_fds[0], F_GETFL) == O_NONBLOCK, "pipe: flags %#o", fcntl(pipe_fds[0], F_GETFL));
	CHECK(fcntl(pipe_fds[0], F_GETPIPE_SZ) == 1 << 17, "pipe: size %d", fcntl(pipe_fds[0], F_GETPIPE_SZ));
}

static void check_devices(void)
{
	char buf[16];

	CHECK(write(null, "x", 1) == 1 && read(null, buf, 1) == 0, "/dev/null");
	memset(buf, 1, sizeof(buf));
	CHECK(read(zero, buf, 16) == 16 && buf[0] == 0 && buf[15] == 0, "/dev/zero");
	CHECK(read(urandom, buf, 16) == 16, "/dev/urandom");
}

static void check_events(void)
{
	struct epoll_event got[4];
	uint64_t seen = 0, count;
	char buf[32];
	int n = epoll_wait(epoll, got, 4, 0);

	for (int i = 0; i < n; i++)
		seen += got[i].data.u64;
	CHECK(n == 2 && seen == 0x1111222233334444 + 0x5555666677778888, "epoll: %d events, data %#lx", n, seen);
	CHECK(read(event, &count, 8) == 8 && count == 42, "eventfd holds %lu, want 42", count);
	n = read(pipe_fds[0], buf, sizeof(buf));
	CHECK(n == 13 && memcmp(buf, "pipe contents", 13) == 0, "pipe: %d bytes", n);
	CHECK(read(pipe_fds[0], buf, 1) == -1 && errno == EAGAIN, "pipe: more than was in it");
	CHECK(write(pipe_fds[1], "x", 1) == 1 && read(pipe_fds[0], buf, 1) == 1, "pipe: its ends are not connected");
}

void files_verify(void)
{
	char buf[4096];

	check_flags();
	check_regular();
	check_devices();
	check_events();
	CHECK(getcwd(buf, sizeof(buf)) && strcmp(buf, cwd) == 0, "cwd is %s, was %s", buf, cwd);
	mode_t mask = umask(0);
	CHECK(mask == 027, "umask is %#o, was 027", mask);
}
