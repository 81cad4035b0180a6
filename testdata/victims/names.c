/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of unix sockets: a listener whose file was deleted, one whose name another one has by now, one whose directory
 * is gone, connections whose listener is closed, with and without its file; abstract names with NUL bytes, of full
 * length, chosen by the kernel, and the same one for two types. Datagram sockets that are sent to and send elsewhere,
 * that send to themselves, and two with each other as peer to which a third sends.
 *
 * names all: and what criu restore does not do: names of accepted connections, a receiver that sends elsewhere, a third
 * sender, relative names that are gone.
 */
#include "victim.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

int victim_failures;

static int all;
static char here[80], got[100];

struct name {
	struct sockaddr_un a;
	socklen_t len;
};

static struct name absolute(const char *file)
{
	struct name n = { { AF_UNIX, "" }, 0 };

	n.len = PATH_AT + snprintf(n.a.sun_path, sizeof(n.a.sun_path), "%s/%s", here, file) + 1;
	return n;
}

static struct name relative(const char *file)
{
	struct name n = { { AF_UNIX, "" }, 0 };

	n.len = PATH_AT + snprintf(n.a.sun_path, sizeof(n.a.sun_path), "%s", file) + 1;
	return n;
}

/* bytes 2 to 5: the process id, so that nobody else has the name */
static struct name abstract(size_t len, char filling)
{
	struct name n = { { AF_UNIX, "" }, PATH_AT + len };
	pid_t pid = getpid();

	memset(n.a.sun_path + 1, filling, len - 1);
	memcpy(n.a.sun_path + 2, &pid, sizeof(pid));
	return n;
}

static int named(int type, const struct name *n)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	MUST(fd >= 0 && bind(fd, (const struct sockaddr *)&n->a, n->len) == 0);
	return fd;
}

static int listening(int type, const struct name *n)
{
	int fd = named(type, n);

	MUST(listen(fd, 4) == 0);
	return fd;
}

static void attach(int fd, const struct name *n)
{
	MUST(connect(fd, (const struct sockaddr *)&n->a, n->len) == 0);
}

static int connected(int type, const struct name *n)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	MUST(fd >= 0);
	attach(fd, n);
	return fd;
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

static void talk(const char *what, int from, int to)
{
	CHECK(send(from, what, strlen(what), MSG_NOSIGNAL) == (ssize_t)strlen(what), "%s: send: %s", what,
	      strerror(errno));
	hear(what, to, what);
}

static void check_name(const char *what, int fd, const struct name *want)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0 && len == want->len && memcmp(&a, &want->a, len) == 0,
	      "%s: name has %d bytes, had %d: %.100s", what, len, want->len, a.sun_path);
}

static void check_gone(const char *what, const char *path)
{
	CHECK(access(path, F_OK) < 0 && errno == ENOENT, "%s: %s is there", what, path);
}

/* A listener with a connection that was accepted and one that was not. */
struct server {
	const char *what;
	struct name name;
	int listener, client, accepted, waiting;
};

static void serve(struct server *s, const char *what, int type, struct name name)
{
	s->what = what;
	s->name = name;
	s->listener = listening(type, &name);
	s->client = connected(type, &name);
	MUST((s->accepted = accept(s->listener, NULL, NULL)) >= 0);
	s->waiting = connected(type, &name);
	say(s->client, "request");
	say(s->accepted, "answer");
}

/* What was accepted stays when the listener goes. */
static void close_listener(struct server *s)
{
	close(s->waiting);
	close(s->listener);
	s->listener = -1;
}

static void check_server(struct server *s)
{
	int other;

	hear(s->what, s->accepted, "request");
	hear(s->what, s->client, "answer");
	talk(s->what, s->client, s->accepted);
	talk(s->what, s->accepted, s->client);
	if (all)
		check_name(s->what, s->accepted, &s->name);
	if (s->listener < 0)
		return;
	check_name(s->what, s->listener, &s->name);
	CHECK((other = accept(s->listener, NULL, NULL)) >= 0, "%s: accept: %s", s->what, strerror(errno));
	talk(s->what, s->waiting, other);
}

static void check_reachable(struct server *s)
{
	int fd = connected(SOCK_STREAM, &s->name), other = accept(s->listener, NULL, NULL);

	CHECK(other >= 0, "%s: accept: %s", s->what, strerror(errno));
	talk(s->what, fd, other);
}

static struct server deleted, replaced, current, nowhere, finished, vanished, left, nul, full, seq;
static int chosen, chosen_client, stream_twin, dgram_twin;
static struct name chosen_name, twin;

static void make_servers(void)
{
	socklen_t len = sizeof(chosen_name.a);

	serve(&deleted, "deleted", SOCK_STREAM, absolute("deleted.sock"));
	MUST(unlink("deleted.sock") == 0);
	serve(&replaced, "replaced", SOCK_STREAM, absolute("current.sock"));
	MUST(unlink("current.sock") == 0);
	serve(&current, "current", SOCK_STREAM, absolute("current.sock"));
	MUST(mkdir("folder", 0700) == 0);
	serve(&nowhere, "nowhere", SOCK_SEQPACKET, absolute("folder/nowhere.sock"));
	MUST(unlink("folder/nowhere.sock") == 0 && rmdir("folder") == 0);
	serve(&finished, "finished", SOCK_STREAM, absolute("finished.sock"));
	close_listener(&finished);
	serve(&vanished, "vanished", SOCK_SEQPACKET, absolute("vanished.sock"));
	close_listener(&vanished);
	MUST(unlink("vanished.sock") == 0);
	serve(&left, "left", SOCK_STREAM, all ? relative("left.sock") : absolute("left.sock"));
	MUST(unlink("left.sock") == 0);
	serve(&nul, "nul", SOCK_STREAM, abstract(20, '\0'));
	serve(&full, "full", SOCK_STREAM, abstract(sizeof(full.name.a.sun_path), 'x'));
	serve(&seq, "seq", SOCK_SEQPACKET, abstract(30, ' '));

	MUST((chosen = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0);
	MUST(bind(chosen, (struct sockaddr *)&(struct sockaddr_un){ AF_UNIX, "" }, sizeof(sa_family_t)) == 0);
	MUST(getsockname(chosen, (struct sockaddr *)&chosen_name.a, &len) == 0 && listen(chosen, 3) == 0);
	chosen_name.len = len;
	chosen_client = connected(SOCK_STREAM, &chosen_name);
	twin = abstract(9, 't');
	stream_twin = listening(SOCK_STREAM, &twin);
	dgram_twin = named(SOCK_DGRAM, &twin);
}

static void check_servers(void)
{
	int fd, other;

	check_server(&deleted);
	check_gone("deleted", "deleted.sock");
	check_server(&replaced);
	check_server(&current);
	check_reachable(&current);
	check_server(&nowhere);
	check_gone("nowhere", "folder");
	check_server(&finished);
	check_server(&vanished);
	check_gone("vanished", "vanished.sock");
	check_server(&left);
	check_gone("left", "left.sock");
	check_server(&nul);
	check_server(&full);
	check_reachable(&full);
	check_server(&seq);
	check_name("chosen", chosen, &chosen_name);
	CHECK((other = accept(chosen, NULL, NULL)) >= 0, "chosen: accept: %s", strerror(errno));
	talk("chosen", chosen_client, other);
	check_name("twin", dgram_twin, &twin);
	fd = connected(SOCK_STREAM, &twin);
	CHECK(accept(stream_twin, NULL, NULL) >= 0, "twin: accept: %s", strerror(errno));
	close(fd);
	fd = connected(SOCK_DGRAM, &twin);
	talk("twin", fd, dgram_twin);
}

static int collector, relay, first, second, self, gone, gone_sender, here_too, a, b, third;
static struct name relay_name;

static void make_dgrams(void)
{
	struct name collector_name = absolute("collector.sock"), self_name = absolute("self.sock"),
		    gone_name = absolute("gone.sock");
	struct name a_name = absolute("a.sock"), b_name = absolute("b.sock");

	collector = named(SOCK_DGRAM, &collector_name);
	relay_name = absolute("relay.sock");
	relay = named(SOCK_DGRAM, &relay_name);
	first = connected(SOCK_DGRAM, &relay_name);
	second = connected(SOCK_DGRAM, &relay_name);
	say(first, "one");
	say(second, "two");
	say(first, "three");
	if (all) {
		attach(relay, &collector_name);
		say(relay, "relayed");
	}

	self = named(SOCK_DGRAM, &self_name);
	attach(self, &self_name);
	say(self, "to myself");

	gone = named(SOCK_DGRAM, &gone_name);
	gone_sender = connected(SOCK_DGRAM, &gone_name);
	say(gone_sender, "to the deleted");
	MUST(unlink("gone.sock") == 0);
	here_too = named(SOCK_DGRAM, &gone_name);

	a = named(SOCK_DGRAM, &a_name);
	b = named(SOCK_DGRAM, &b_name);
	MUST((third = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) >= 0);
	attach(a, &b_name);
	say(a, "from a");
	if (all) {
		attach(third, &b_name);
		say(third, "from the third");
	}
	attach(b, &a_name);
	say(b, "from b");
}

/* Who has a peer gets datagrams from that one only. */
static void refused(const char *what, int fd)
{
	CHECK(send(fd, "x", 1, 0) < 0 && errno == EPERM, "%s: may send: %s", what, strerror(errno));
}

static void check_dgrams(void)
{
	int stranger = socket(AF_UNIX, SOCK_DGRAM, 0);

	hear("relay", relay, "one");
	hear("relay", relay, "two");
	hear("relay", relay, "three");
	if (all) {
		refused("first", first);
		refused("second", second);
		CHECK(connect(stranger, (struct sockaddr *)&relay_name.a, relay_name.len) < 0 && errno == EPERM,
		      "relay: a stranger may send to it: %s", strerror(errno));
		hear("collector", collector, "relayed");
		talk("relay", relay, collector);
	} else {
		talk("first", first, relay);
		talk("second", second, relay);
	}
	hear("self", self, "to myself");
	talk("self", self, self);
	hear("gone", gone, "to the deleted");
	talk("gone", gone_sender, gone);
	CHECK(recv(here_too, got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "here too: has got something");
	hear("b", b, "from a");
	if (all) {
		hear("b", b, "from the third");
		refused("third", third);
	}
	hear("a", a, "from b");
	talk("a", a, b);
	talk("b", b, a);
}

int main(int argc, char **argv)
{
	all = argc > 1 && strcmp(argv[1], "all") == 0;
	victim_begin();
	MUST(getcwd(here, sizeof(here)) != NULL);
	make_servers();
	make_dgrams();
	victim_wait();
	check_servers();
	check_dgrams();
	return victim_end();
}
