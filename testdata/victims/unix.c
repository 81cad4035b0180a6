/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets: pairs of the three types with queued data and options, one of them shut down, one whose other end is
 * closed, one between this process and its child; listeners with a path (relative and absolute), with an abstract name,
 * with a connection that has been accepted and with one that waits; datagram sockets with a name and a sender.
 *
 * unix LOG SERVER: also connected to a datagram and a stream socket of somebody else, abstract if their names begin
 * with @.
 */
#include "victim.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define BULK 50000

int victim_failures;

static const int types[3] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
static int pairs[3][2], half[2], orphan, child_pair[2];
static int path_listener, client, accepted, waiting, abstract_listener, seq_listener, seq_client, seq_accepted;
static int named_dgram, sender, fresh, bound;
static struct sockaddr_un path_name, abstract_name, seq_name, dgram_name, fresh_name;
static socklen_t abstract_len;
static char bulk[BULK], got[BULK];

static void name_it(struct sockaddr_un *a, const char *path)
{
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
}

static int named(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, type, 0);

	MUST(fd >= 0 && bind(fd, (const struct sockaddr *)a, len) == 0);
	return fd;
}

static int connected(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, type, 0);

	MUST(fd >= 0 && connect(fd, (const struct sockaddr *)a, len) == 0);
	return fd;
}

static void say(int fd, const char *text)
{
	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* One read gives exactly text: a stream has nothing more, the other types keep their boundaries. */
static void hear(const char *what, int fd, const char *text)
{
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && memcmp(got, text, n) == 0, "%s: read %zd %.20s, want %s", what, n,
	      n > 0 ? got : "", text);
}

static void silent(const char *what, int fd)
{
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	CHECK(n < 0 && errno == EAGAIN, "%s: %zd more bytes", what, n);
}

static void talk(const char *what, int a, int b)
{
	CHECK(send(a, "ping", 4, MSG_NOSIGNAL) == 4, "%s: send: %s", what, strerror(errno));
	hear(what, b, "ping");
	CHECK(send(b, "pong", 4, MSG_NOSIGNAL) == 4, "%s: send back: %s", what, strerror(errno));
	hear(what, a, "pong");
}

static void check_name(const char *what, int fd, const struct sockaddr_un *want, socklen_t want_len)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0 && len == want_len && memcmp(&a, want, len) == 0,
	      "%s: name %d bytes, was %d", what, len, want_len);
}

static int option(int fd, int which)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, SOL_SOCKET, which, &value, &len) == 0, "option %d: %s", which, strerror(errno));
	return value;
}

static void set_option(int fd, int which, int value)
{
	MUST(setsockopt(fd, SOL_SOCKET, which, &value, sizeof(value)) == 0);
}

static void make_pairs(void)
{
	struct timeval second = { 1, 500000 };

	for (int i = 0; i < 3; i++) {
		MUST(socketpair(AF_UNIX, types[i], 0, pairs[i]) == 0);
		say(pairs[i][0], "one");
		if (types[i] != SOCK_STREAM)
			say(pairs[i][0], "two!");
	}
	MUST(write(pairs[0][1], bulk, BULK) == BULK);
	MUST(fcntl(pairs[1][0], F_SETFL, O_NONBLOCK) == 0);
	MUST(fcntl(pairs[1][1], F_SETFD, FD_CLOEXEC) == 0);
	set_option(pairs[2][0], SO_SNDBUF, 40000);
	set_option(pairs[2][0], SO_RCVBUF, 30000);
	set_option(pairs[2][0], SO_PASSCRED, 1);
	MUST(setsockopt(pairs[2][0], SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, half) == 0);
	say(half[0], "last words");
	MUST(shutdown(half[0], SHUT_WR) == 0);
}

static void check_pairs(void)
{
	struct timeval timeout;
	socklen_t len = sizeof(timeout);
	size_t have = 0;
	ssize_t n;

	while (have < BULK && (n = recv(pairs[0][0], got + have, BULK - have, MSG_DONTWAIT)) > 0)
		have += n;
	CHECK(have == BULK && memcmp(got, bulk, BULK) == 0, "bulk: %zu bytes", have);
	for (int i = 0; i < 3; i++) {
		hear("pair", pairs[i][1], "one");
		if (types[i] != SOCK_STREAM)
			hear("pair", pairs[i][1], "two!");
		silent("pair", pairs[i][1]);
		CHECK(option(pairs[i][0], SO_TYPE) == types[i], "type %d", option(pairs[i][0], SO_TYPE));
		talk("pair", pairs[i][0], pairs[i][1]);
	}
	CHECK(fcntl(pairs[1][0], F_GETFL) & O_NONBLOCK, "O_NONBLOCK is lost");
	CHECK(!(fcntl(pairs[1][1], F_GETFL) & O_NONBLOCK), "O_NONBLOCK has come");
	CHECK(fcntl(pairs[1][1], F_GETFD) == FD_CLOEXEC, "FD_CLOEXEC is lost");
	CHECK(option(pairs[2][0], SO_SNDBUF) == 80000, "SO_SNDBUF %d", option(pairs[2][0], SO_SNDBUF));
	CHECK(option(pairs[2][0], SO_RCVBUF) == 60000, "SO_RCVBUF %d", option(pairs[2][0], SO_RCVBUF));
	CHECK(option(pairs[2][0], SO_PASSCRED) == 1, "SO_PASSCRED");
	CHECK(option(pairs[2][1], SO_PASSCRED) == 0, "SO_PASSCRED of the other end");
	CHECK(getsockopt(pairs[2][0], SOL_SOCKET, SO_RCVTIMEO, &timeout, &len) == 0 && timeout.tv_sec == 1 &&
		      timeout.tv_usec == 500000,
	      "SO_RCVTIMEO %ld.%06ld", (long)timeout.tv_sec, (long)timeout.tv_usec);
	hear("half", half[1], "last words");
	CHECK(recv(half[1], got, 1, MSG_DONTWAIT) == 0, "half: no end");
	CHECK(send(half[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "half: not shut down");
	CHECK(send(half[1], "back", 4, MSG_NOSIGNAL) == 4, "half: send");
	hear("half", half[0], "back");
}

static void make_orphan(void)
{
	int p[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0);
	say(p[1], "farewell");
	close(p[1]);
	orphan = p[0];
}

static void check_orphan(void)
{
	hear("orphan", orphan, "farewell");
	CHECK(recv(orphan, got, 1, MSG_DONTWAIT) == 0, "orphan: no end");
	CHECK(send(orphan, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "orphan: still connected");
}

/* The child answers every byte with the next one. */
static pid_t make_child(void)
{
	pid_t pid;
	char byte;

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, child_pair) == 0);
	MUST((pid = fork()) >= 0);
	if (pid)
		return pid;
	close(child_pair[0]);
	while (read(child_pair[1], &byte, 1) == 1) {
		byte++;
		if (write(child_pair[1], &byte, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void check_child(pid_t pid)
{
	char byte = 'a';
	int status;

	CHECK(write(child_pair[0], &byte, 1) == 1 && read(child_pair[0], &byte, 1) == 1 && byte == 'b', "child: %c",
	      byte);
	shutdown(child_pair[0], SHUT_WR);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child: status %#x", status);
}

static void make_listeners(void)
{
	char here[80];

	name_it(&path_name, "relative.sock");
	path_listener = named(SOCK_STREAM, &path_name, sizeof(path_name));
	MUST(chmod("relative.sock", 0640) == 0 && chown("relative.sock", 12, 34) == 0);
	MUST(listen(path_listener, 5) == 0);
	client = connected(SOCK_STREAM, &path_name, sizeof(path_name));
	MUST((accepted = accept(path_listener, NULL, NULL)) >= 0);
	say(client, "request");
	say(accepted, "answer");
	waiting = connected(SOCK_STREAM, &path_name, sizeof(path_name));

	abstract_name.sun_family = AF_UNIX;
	abstract_len = offsetof(struct sockaddr_un, sun_path) +
		       snprintf(abstract_name.sun_path + 1, 60, "crpie\nvictim %d", getpid()) + 1;
	abstract_listener = named(SOCK_STREAM, &abstract_name, abstract_len);
	MUST(listen(abstract_listener, 3) == 0);

	MUST(getcwd(here, 60) != NULL);
	name_it(&seq_name, strcat(here, "/seq.sock"));
	seq_listener = named(SOCK_SEQPACKET, &seq_name, sizeof(seq_name));
	MUST(listen(seq_listener, 3) == 0);
	seq_client = connected(SOCK_SEQPACKET, &seq_name, sizeof(seq_name));
	MUST((seq_accepted = accept(seq_listener, NULL, NULL)) >= 0);
	say(seq_client, "packet");
}

static void check_file(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode), "%s: no socket", path);
	CHECK((st.st_mode & 07777) == mode && st.st_uid == uid && st.st_gid == gid, "%s: mode %#o uid %d gid %d", path,
	      st.st_mode, st.st_uid, st.st_gid);
}

static void check_listener(const char *what, int listener, int type, const struct sockaddr_un *name, socklen_t len)
{
	int fd = connected(type, name, len), other = accept(listener, NULL, NULL);

	CHECK(option(listener, SO_ACCEPTCONN) == 1, "%s: does not listen", what);
	CHECK(other >= 0, "%s: accept: %s", what, strerror(errno));
	talk(what, fd, other);
}

static void check_listeners(void)
{
	int other;

	check_file("relative.sock", 0640, 12, 34);
	check_name("relative", path_listener, &path_name,
		   offsetof(struct sockaddr_un, sun_path) + sizeof("relative.sock"));
	hear("client", client, "answer");
	hear("accepted", accepted, "request");
	talk("accepted", client, accepted);
	CHECK((other = accept(path_listener, NULL, NULL)) >= 0, "waiting: accept: %s", strerror(errno));
	talk("waiting", waiting, other);
	check_listener("relative", path_listener, SOCK_STREAM, &path_name, sizeof(path_name));
	check_name("abstract", abstract_listener, &abstract_name, abstract_len);
	check_listener("abstract", abstract_listener, SOCK_STREAM, &abstract_name, abstract_len);
	hear("seq", seq_accepted, "packet");
	talk("seq", seq_client, seq_accepted);
	check_listener("seq", seq_listener, SOCK_SEQPACKET, &seq_name, sizeof(seq_name));
}

static void make_dgrams(void)
{
	name_it(&dgram_name, "dgram.sock");
	named_dgram = named(SOCK_DGRAM, &dgram_name, sizeof(dgram_name));
	sender = connected(SOCK_DGRAM, &dgram_name, sizeof(dgram_name));
	say(sender, "first");
	say(sender, "second");
	MUST((fresh = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	name_it(&fresh_name, "bound.sock");
	bound = named(SOCK_STREAM, &fresh_name, sizeof(fresh_name));
}

static void check_dgrams(void)
{
	check_name("dgram", named_dgram, &dgram_name, offsetof(struct sockaddr_un, sun_path) + sizeof("dgram.sock"));
	hear("dgram", named_dgram, "first");
	hear("dgram", named_dgram, "second");
	CHECK(send(sender, "third", 5, 0) == 5, "sender: %s", strerror(errno));
	hear("dgram", named_dgram, "third");
	CHECK(listen(bound, 1) == 0, "bound: listen: %s", strerror(errno));
	CHECK(connect(fresh, (struct sockaddr *)&fresh_name, sizeof(fresh_name)) == 0, "fresh: connect: %s",
	      strerror(errno));
}

static struct sockaddr_un outside(const char *name)
{
	struct sockaddr_un a;

	name_it(&a, name);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = 0;
	return a;
}

static int reach(int type, const char *name)
{
	struct sockaddr_un a = outside(name);

	return connected(type, &a, offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

int main(int argc, char **argv)
{
	int log = -1, server = -1;
	pid_t child;

	victim_begin();
	if (argc == 3) {
		log = reach(SOCK_DGRAM, argv[1]);
		server = reach(SOCK_STREAM, argv[2]);
		say(log, "before");
		say(server, "before");
	}
	for (size_t i = 0; i < BULK; i++)
		bulk[i] = i % 251;
	make_pairs();
	make_orphan();
	child = make_child();
	close(child_pair[1]);
	make_listeners();
	make_dgrams();
	victim_wait();
	check_pairs();
	check_orphan();
	check_child(child);
	check_listeners();
	check_dgrams();
	if (argc == 3) {
		CHECK(write(log, "after", 5) == 5, "log: %s", strerror(errno));
		CHECK(write(server, "after", 5) == 5, "server: %s", strerror(errno));
	}
	return victim_end();
}
