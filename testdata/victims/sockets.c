/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What unix sockets have besides names and data: every option that criu dumps (SO_REUSEADDR it does not), a filter, an
 * owner and a signal for what arrives, all ways of being shut down with data in the queue. And sockets that tasks
 * share: a listener of this process and two workers, pairs between parent and child and between brothers, one
 * description in three tasks. sockets many: and many pairs.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MANY 300

int victim_failures;

static char got[100];

static void pair(int type, int p[2])
{
	MUST(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, p) == 0);
}

static void say(int fd, const char *text)
{
	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void hear(const char *what, int fd, const char *text)
{
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && memcmp(got, text, n) == 0, "%s: read %zd %.20s, want %s", what, n,
	      n > 0 ? got : "", text);
}

static void ended(const char *what, int fd)
{
	CHECK(recv(fd, got, 1, MSG_DONTWAIT) == 0, "%s: it has no end", what);
}

static void broken(const char *what, int fd)
{
	CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "%s: may send", what);
}

static void talk(const char *what, int from, int to)
{
	CHECK(send(from, what, strlen(what), MSG_NOSIGNAL) == (ssize_t)strlen(what), "%s: send: %s", what,
	      strerror(errno));
	hear(what, to, what);
}

static const struct {
	const char *name;
	int option, value, reads;
} options[] = {
	{ "SO_SNDBUF", SO_SNDBUF, 50000, 100000 },
	{ "SO_RCVBUF", SO_RCVBUF, 6000, 12000 },
	{ "SO_PRIORITY", SO_PRIORITY, 5, 5 },
	{ "SO_RCVLOWAT", SO_RCVLOWAT, 3, 3 },
	{ "SO_MARK", SO_MARK, 77, 77 },
	{ "SO_PASSCRED", SO_PASSCRED, 1, 1 },
	{ "SO_PASSSEC", SO_PASSSEC, 1, 1 },
	{ "SO_DONTROUTE", SO_DONTROUTE, 1, 1 },
	{ "SO_NO_CHECK", SO_NO_CHECK, 1, 1 },
	{ "SO_BROADCAST", SO_BROADCAST, 1, 1 },
	{ "SO_KEEPALIVE", SO_KEEPALIVE, 1, 1 },
	{ "SO_OOBINLINE", SO_OOBINLINE, 1, 1 },
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static int set[2][2], plain[2][2], default_value[OPTIONS], filtered[2];
static int alarmed[2];

/* lets packets pass that begin with y */
static struct sock_filter filter[] = {
	{ BPF_LD | BPF_B | BPF_ABS, 0, 0, 0 },
	{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'y' },
	{ BPF_RET | BPF_K, 0, 0, 0xffff },
	{ BPF_RET | BPF_K, 0, 0, 0 },
};

static int get(int fd, int which)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, which, &value, &len) == 0 ? value : -errno;
}

static void make_options(void)
{
	struct timeval in = { 3, 500000 }, out = { 4, 0 };
	struct linger linger = { 1, 9 };
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	for (int i = 0; i < 2; i++) {
		pair(i ? SOCK_DGRAM : SOCK_STREAM, set[i]);
		pair(i ? SOCK_DGRAM : SOCK_STREAM, plain[i]);
		say(set[i][1], "before the options"); /* whom SO_PASSCRED would give a name */
		hear("option", set[i][0], "before the options");
		for (size_t k = 0; k < OPTIONS; k++) {
			default_value[k] = get(plain[i][0], options[k].option);
			MUST(setsockopt(set[i][0], SOL_SOCKET, options[k].option, &options[k].value, sizeof(int)) == 0);
			MUST(get(set[i][0], options[k].option) == options[k].reads);
		}
		MUST(setsockopt(set[i][0], SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in)) == 0);
		MUST(setsockopt(set[i][0], SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out)) == 0);
		MUST(setsockopt(set[i][0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	}
	pair(SOCK_DGRAM, filtered);
	say(filtered[0], "no filter yet");
	MUST(setsockopt(filtered[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
	say(filtered[0], "yes");
}

static void check_time(const char *what, int fd, int which, long sec, long usec)
{
	struct timeval t = { -1, -1 };
	socklen_t len = sizeof(t);

	CHECK(getsockopt(fd, SOL_SOCKET, which, &t, &len) == 0 && t.tv_sec == sec && t.tv_usec == usec,
	      "%s is %ld.%06ld", what, (long)t.tv_sec, (long)t.tv_usec);
}

static void check_options(void)
{
	for (int i = 0; i < 2; i++) {
		struct linger linger = { 0, 0 };
		socklen_t len = sizeof(linger);

		for (size_t k = 0; k < OPTIONS; k++) {
			CHECK(get(set[i][0], options[k].option) == options[k].reads, "%s is %d", options[k].name,
			      get(set[i][0], options[k].option));
			CHECK(get(plain[i][0], options[k].option) == default_value[k], "%s has become %d, not set",
			      options[k].name, get(plain[i][0], options[k].option));
		}
		check_time("SO_RCVTIMEO", set[i][0], SO_RCVTIMEO, 3, 500000);
		check_time("SO_SNDTIMEO", set[i][0], SO_SNDTIMEO, 4, 0);
		check_time("SO_RCVTIMEO, not set,", plain[i][0], SO_RCVTIMEO, 0, 0);
		CHECK(getsockopt(set[i][0], SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff == 1 &&
			      linger.l_linger == 9,
		      "SO_LINGER is %d %d", linger.l_onoff, linger.l_linger);
	}
	hear("filter", filtered[1], "no filter yet");
	hear("filter", filtered[1], "yes");
	say(filtered[0], "no"); /* is dropped, without an error */
	talk("yes, again", filtered[0], filtered[1]);
}

/* What arrives sends a signal of its own, with the descriptor. */
static void make_owner(void)
{
	pair(SOCK_STREAM, alarmed);
	MUST(fcntl(alarmed[0], F_SETSIG, SIGRTMIN + 3) == 0 && fcntl(alarmed[0], F_SETOWN, getpid()) == 0);
	MUST(fcntl(alarmed[0], F_SETFL, O_NONBLOCK | O_ASYNC) == 0);
}

static void check_owner(void)
{
	sigset_t mine;
	siginfo_t info = { 0 };
	struct timespec second = { 1, 0 };

	sigemptyset(&mine);
	sigaddset(&mine, SIGRTMIN + 3);
	CHECK(sigtimedwait(&mine, &info, &(struct timespec){ 0, 0 }) < 0, "owner: a signal came from nothing");
	CHECK(fcntl(alarmed[0], F_GETOWN) == getpid() && fcntl(alarmed[0], F_GETFL) & O_ASYNC, "owner: %d",
	      fcntl(alarmed[0], F_GETOWN));
	talk("owner", alarmed[1], alarmed[0]);
	CHECK(sigtimedwait(&mine, &info, &second) == SIGRTMIN + 3 && info.si_fd == alarmed[0],
	      "owner: no signal, fd %d", info.si_fd);
}

static const struct {
	const char *name;
	int type, how;
} shuts[] = {
	{ "stream, not reading", SOCK_STREAM, SHUT_RD },     { "stream, not writing", SOCK_STREAM, SHUT_WR },
	{ "stream, shut", SOCK_STREAM, SHUT_RDWR },          { "packets, not reading", SOCK_SEQPACKET, SHUT_RD },
	{ "packets, not writing", SOCK_SEQPACKET, SHUT_WR }, { "packets, shut", SOCK_SEQPACKET, SHUT_RDWR },
	{ "datagrams, not reading", SOCK_DGRAM, SHUT_RD },   { "datagrams, not writing", SOCK_DGRAM, SHUT_WR },
};

#define SHUTS (sizeof(shuts) / sizeof(shuts[0]))

static int shut[SHUTS][2];

static void make_shut(void)
{
	for (size_t i = 0; i < SHUTS; i++) {
		pair(shuts[i].type, shut[i]);
		say(shut[i][0], "from it");
		say(shut[i][1], "to it");
		MUST(shutdown(shut[i][0], shuts[i].how) == 0);
	}
}

static void check_shut(void)
{
	for (size_t i = 0; i < SHUTS; i++) {
		const char *name = shuts[i].name;
		int reads = shuts[i].how == SHUT_WR, writes = shuts[i].how == SHUT_RD;

		hear(name, shut[i][0], "to it");
		hear(name, shut[i][1], "from it");
		if (!reads) {
			if (shuts[i].type != SOCK_DGRAM)
				ended(name, shut[i][0]);
			broken(name, shut[i][1]);
		} else {
			talk(name, shut[i][1], shut[i][0]);
		}
		if (!writes)
			broken(name, shut[i][0]);
		else
			talk(name, shut[i][0], shut[i][1]);
	}
}

static int listener, to_a[2], a_to_b[2], from_b[2], common[2];
static pid_t workers[2];
static struct sockaddr_un shared_name;

/* A worker hands on each byte, one more, and at an x accepts a connection and says who it is. */
static void work(char who, int in, int out)
{
	char byte;
	int fd;

	while (read(in, &byte, 1) == 1) {
		if (byte == 'x') {
			fd = accept(listener, NULL, NULL);
			if (fd < 0 || write(fd, &who, 1) != 1)
				_exit(2);
			close(fd);
			if (write(common[1], &who, 1) != 1)
				_exit(3);
		}
		byte += byte != 'x';
		if (write(out, &byte, 1) != 1)
			_exit(4);
	}
	_exit(0);
}

static void make_workers(void)
{
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + sizeof("shared.sock");

	shared_name = (struct sockaddr_un){ AF_UNIX, "shared.sock" };
	MUST((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0 &&
	     bind(listener, (struct sockaddr *)&shared_name, len) == 0);
	MUST(listen(listener, 5) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, to_a) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, a_to_b) == 0 &&
	     socketpair(AF_UNIX, SOCK_STREAM, 0, from_b) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, common) == 0);
	for (int i = 0; i < 2; i++) {
		MUST((workers[i] = fork()) >= 0);
		if (workers[i])
			continue;
		close(to_a[0]);
		close(from_b[0]);
		close(i ? to_a[1] : from_b[1]);
		close(a_to_b[!i]);
		work(i ? 'B' : 'A', i ? a_to_b[1] : to_a[1], i ? from_b[1] : a_to_b[0]);
	}
	close(to_a[1]);
	close(from_b[1]);
	close(a_to_b[0]);
	close(a_to_b[1]);
}

static void check_workers(void)
{
	char byte = 'p', who[2] = "";
	int fd[2], status;

	CHECK(write(to_a[0], &byte, 1) == 1 && read(from_b[0], &byte, 1) == 1 && byte == 'r', "workers: %c", byte);
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK(connect(fd[i], (struct sockaddr *)&shared_name, sizeof(shared_name)) == 0, "listener: %s",
		      strerror(errno));
	}
	byte = 'x';
	CHECK(write(to_a[0], &byte, 1) == 1 && read(from_b[0], &byte, 1) == 1 && byte == 'x', "workers: %c", byte);
	for (int i = 0; i < 2; i++)
		CHECK(read(fd[i], &who[i], 1) == 1 && who[i] == 'A' + i, "listener: %c answers", who[i]);
	hear("common", common[0], "A");
	hear("common", common[0], "B");
	close(to_a[0]);
	for (int i = 0; i < 2; i++)
		CHECK(waitpid(workers[i], &status, 0) == workers[i] && (status == 0 || i == 1), "worker %d: %#x", i,
		      status);
}

static int many[MANY][2];

static void make_many(void)
{
	for (int i = 0; i < MANY; i++) {
		pair(SOCK_STREAM, many[i]);
		say(many[i][0], "one of many");
	}
}

static void check_many(void)
{
	for (int i = 0; i < MANY; i++) {
		hear("many", many[i][1], "one of many");
		talk("many", many[i][1], many[i][0]);
	}
}

int main(int argc, char **argv __attribute__((unused)))
{
	sigset_t mine;

	victim_begin();
	sigemptyset(&mine);
	sigaddset(&mine, SIGRTMIN + 3);
	MUST(sigprocmask(SIG_BLOCK, &mine, NULL) == 0);
	make_workers();
	make_options();
	make_owner();
	make_shut();
	if (argc > 1)
		make_many();
	victim_wait();
	check_options();
	check_owner();
	check_shut();
	if (argc > 1)
		check_many();
	check_workers();
	return victim_end();
}
