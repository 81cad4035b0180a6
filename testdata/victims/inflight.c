/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in flight: sent over unix sockets (SCM_RIGHTS) and not received. A file whose position this process
 * shares, an eventfd, a timer and both ends of a pipe that nobody else has, a pipe with one end here, a listener with a
 * connection that waits; a socket that has a descriptor in its own queue, one that is in its own queue, one that goes
 * to the child.
 *
 * inflight alone: the timer and the socket with a queue are nowhere else, which criu restore cannot do. An epoll set is
 * in flight in any case.
 */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#define SOME 8

int victim_failures;

static int stream[2], dgram[2], nested[2], loop[2], child_pair[2], epolls[2], in_set;
static int receiver, client, file, pipe_out, alone;

static void send_fds(int over, const char *text, int n, ...)
{
	char control[CMSG_SPACE(SOME * sizeof(int))] = "";
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(n * sizeof(int))
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	va_list ap;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	va_start(ap, n);
	for (int i = 0; i < n; i++)
		((int *)CMSG_DATA(c))[i] = va_arg(ap, int);
	va_end(ap);
	MUST(sendmsg(over, &msg, 0) == (ssize_t)strlen(text));
}

/* Reads text with exactly n descriptors. */
static void receive(const char *what, int over, const char *text, int n, int *fds)
{
	char got[100], control[CMSG_SPACE(SOME * sizeof(int))];
	struct iovec iov = { got, sizeof(got) }; /* a stream is read up to the next descriptors */
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t len = recvmsg(over, &msg, MSG_DONTWAIT);
	struct cmsghdr *c = len < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	int have = c && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

	CHECK(len == (ssize_t)strlen(text) && !(msg.msg_flags & MSG_TRUNC) && memcmp(got, text, len) == 0,
	      "%s: read %zd bytes, want %s", what, len, text);
	CHECK(have == n, "%s: %d descriptors, want %d", what, have, n);
	for (int i = 0; i < n; i++)
		fds[i] = i < have ? ((int *)CMSG_DATA(c))[i] : -1;
}

static int open_file(void)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);

	MUST(fd >= 0 && write(fd, "0123456789", 10) == 10 && lseek(fd, 3, SEEK_SET) == 3);
	return fd;
}

static int counter(int value)
{
	int fd = eventfd(value, EFD_NONBLOCK);

	MUST(fd >= 0);
	return fd;
}

static int timer(void)
{
	struct itimerspec hours = { { 7, 0 }, { 36000, 0 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	MUST(fd >= 0 && timerfd_settime(fd, 0, &hours, NULL) == 0);
	return fd;
}

static int bound(int type, const char *path)
{
	struct sockaddr_un a = { AF_UNIX, "" };
	int fd = socket(AF_UNIX, type, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static int connected(int type, const char *path)
{
	struct sockaddr_un a = { AF_UNIX, "" };
	int fd = socket(AF_UNIX, type, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void send_stream(void)
{
	int half[2], whole[2], event = counter(7), alarm = timer(), listener = bound(SOCK_STREAM, "listener.sock");

	file = open_file();
	MUST(pipe2(half, O_NONBLOCK) == 0 && pipe2(whole, O_NONBLOCK) == 0 && listen(listener, 3) == 0);
	MUST(write(half[1], "half", 4) == 4 && write(whole[1], "whole", 5) == 5);
	pipe_out = half[1];
	client = connected(SOCK_STREAM, "listener.sock");
	MUST(write(stream[0], "before: ", 8) == 8);
	send_fds(stream[0], "file", 1, file);
	send_fds(stream[0], "pipes", 3, half[0], whole[0], whole[1]);
	MUST(write(stream[0], "between: ", 9) == 9);
	send_fds(stream[0], "event", 2, event, alarm);
	send_fds(stream[0], "listener", 1, listener);
	close(half[0]);
	close(whole[0]);
	close(whole[1]);
	close(event);
	close(listener);
	if (alone)
		close(alarm);
}

static void check_stream(void)
{
	char byte[10] = "", text[10] = "";
	int fd[3], other;
	struct itimerspec left;
	uint64_t value;

	receive("file", stream[1], "before: file", 1, fd);
	CHECK(read(fd[0], byte, 1) == 1 && byte[0] == '3', "file: read %s", byte);
	CHECK(lseek(file, 0, SEEK_CUR) == 4, "file: position %ld is not shared", (long)lseek(file, 0, SEEK_CUR));
	receive("pipes", stream[1], "pipes", 3, fd);
	CHECK(read(fd[0], text, 9) == 4 && strcmp(text, "half") == 0, "half: %s", text);
	CHECK(write(pipe_out, "more", 4) == 4 && read(fd[0], text, 9) == 4 && strcmp(text, "more") == 0, "half: %s",
	      text);
	CHECK(read(fd[1], text, 9) == 5 && memcmp(text, "whole", 5) == 0, "whole: %s", text);
	CHECK(write(fd[2], "x", 1) == 1 && read(fd[1], text, 9) == 1, "whole: another pipe");
	receive("event", stream[1], "between: event", 2, fd);
	CHECK(read(fd[0], &value, 8) == 8 && value == 7, "eventfd: %lu", value);
	CHECK(timerfd_gettime(fd[1], &left) == 0 && left.it_interval.tv_sec == 7 && left.it_value.tv_sec > 30000,
	      "timer: %ld %ld", left.it_interval.tv_sec, left.it_value.tv_sec);
	receive("listener", stream[1], "listener", 1, fd);
	CHECK((other = accept(fd[0], NULL, NULL)) >= 0, "accept: %s", strerror(errno));
	CHECK(write(client, "hi", 2) == 2 && read(other, text, 9) == 2, "client: %s", strerror(errno));
}

static void send_dgrams(void)
{
	int sender, one = counter(1), two = counter(2);

	receiver = bound(SOCK_DGRAM, "receiver.sock");
	sender = connected(SOCK_DGRAM, "receiver.sock");
	send_fds(dgram[0], "two", 2, one, two);
	send_fds(dgram[0], "one", 1, one);
	send_fds(sender, "named", 1, two);
	close(sender);
	close(one);
	close(two);
}

static void check_dgrams(void)
{
	int fd[2], one, two;
	uint64_t value;

	receive("two", dgram[1], "two", 2, fd);
	CHECK(read(fd[1], &value, 8) == 8 && value == 2, "two: %lu", value);
	one = fd[0];
	two = fd[1];
	receive("one", dgram[1], "one", 1, fd);
	CHECK(read(fd[0], &value, 8) == 8 && value == 1, "one: %lu", value);
	CHECK(read(one, &value, 8) < 0 && errno == EAGAIN, "one: not the same eventfd");
	receive("named", receiver, "named", 1, fd);
	CHECK(write(two, &(uint64_t){ 5 }, 8) == 8 && read(fd[0], &value, 8) == 8 && value == 5,
	      "named: not the same eventfd");
}

static void send_sockets(void)
{
	int inner[2], event = counter(11);

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, inner) == 0);
	send_fds(inner[0], "inner", 1, event);
	send_fds(nested[0], "outer", 1, inner[1]);
	send_fds(nested[0], "other end", 1, inner[0]);
	send_fds(loop[0], "itself", 1, loop[1]);
	close(inner[1]);
	close(event);
	if (alone)
		close(inner[0]);
}

static void check_sockets(void)
{
	int end, fd, back;
	uint64_t value;

	receive("outer", nested[1], "outer", 1, &end);
	receive("inner", end, "inner", 1, &fd);
	CHECK(read(fd, &value, 8) == 8 && value == 11, "inner: %lu", value);
	receive("outer", nested[1], "other end", 1, &back);
	CHECK(write(back, "through", 7) == 7, "through: %s", strerror(errno));
	receive("through", end, "through", 0, NULL);
	receive("loop", loop[1], "itself", 1, &fd);
	CHECK(write(loop[0], "round", 5) == 5, "round: %s", strerror(errno));
	receive("round", fd, "round", 0, NULL);
}

static void send_epoll(void)
{
	struct epoll_event event = { EPOLLIN, { .u64 = 77 } };
	int set = epoll_create1(0);

	in_set = counter(0);
	MUST(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, in_set, &event) == 0);
	send_fds(epolls[0], "set", 1, set);
	close(set);
}

static void check_epoll(void)
{
	struct epoll_event event = { 0 };
	int set;

	receive("epoll", epolls[1], "set", 1, &set);
	CHECK(epoll_wait(set, &event, 1, 0) == 0, "epoll: ready at once");
	CHECK(write(in_set, &(uint64_t){ 1 }, 8) == 8 && epoll_wait(set, &event, 1, 0) == 1 && event.data.u64 == 77,
	      "epoll: data %lu", event.data.u64);
}

/* The child receives an eventfd when it is asked to, and says what it counts. */
static pid_t make_child(void)
{
	int event = counter(40), fd;
	uint64_t value;
	pid_t pid;

	MUST((pid = fork()) >= 0);
	if (pid == 0) {
		struct pollfd end = { .fd = child_pair[1], .events = POLLRDHUP };

		close(child_pair[0]);
		poll(&end, 1, -1);
		receive("child", child_pair[1], "for the child", 1, &fd);
		_exit(read(fd, &value, 8) == 8 ? value : 1);
	}
	send_fds(child_pair[0], "for the child", 1, event);
	close(child_pair[1]);
	close(event);
	return pid;
}

static void check_child(pid_t pid)
{
	int status;

	shutdown(child_pair[0], SHUT_WR);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 40, "child: status %#x",
	      status);
}

int main(int argc, char **argv)
{
	pid_t child;

	alone = argc > 1 && strcmp(argv[1], "alone") == 0;
	victim_begin();
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, child_pair) == 0);
	child = make_child();
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) == 0 &&
	     socketpair(AF_UNIX, SOCK_STREAM, 0, epolls) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, nested) == 0 &&
	     socketpair(AF_UNIX, SOCK_SEQPACKET, 0, loop) == 0);
	send_stream();
	send_dgrams();
	send_sockets();
	send_epoll();
	victim_wait();
	check_stream();
	check_dgrams();
	check_sockets();
	check_epoll();
	check_child(child);
	return victim_end();
}
