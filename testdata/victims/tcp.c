/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections, both ends here: idle ones (IPv4, IPv6, IPv4 through an IPv6 socket) with options; one whose queues
 * are full in both directions; one on which data was sent that has not arrived; closed in one direction, in both,
 * closed while data waits (all the states that tcp(7) has for that); one that was reset; and two children that exchange
 * numbered blocks without pause, also during the dump.
 *
 * Connections that both ends have closed are remembered by the kernel for a minute (TIME_WAIT), in the way of a second
 * restore: "closing" as an argument adds them. "serve" is another program: it echoes what a client elsewhere sends to
 * the port that it writes to the file "port", at an address that may be given. So is "dial" with a port: it connects to a listener that does not answer.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

int victim_failures;

struct pair {
	int client, server;
	struct sockaddr_in6 names[2];
	size_t waiting[2]; /* bytes that the client, the server has sent and nobody has read */
	int states[2];
};

enum { V4, V6, MAPPED, FULL, UNHEARD, HALF, FIN_WAIT1, LAST_ACK, CLOSING, PAIRS };

static const char *const titles[] = { "IPv4", "IPv6",       "mapped",   "full",   "unheard",
				      "half", "fin-wait-1", "last-ack", "closing" };
static struct pair pairs[PAIRS];
static int listener, listener6, reset_socket, stop[2], nr_pairs = LAST_ACK;
static pid_t echo, load;

static void set(int fd, int level, int which, int value)
{
	MUST(setsockopt(fd, level, which, &value, sizeof(value)) == 0);
}

static void check(const char *what, int fd, int level, int which, int want)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, level, which, &value, &len) == 0 && value == want, "%s: option %d/%d is %d, want %d", what,
	      level, which, value, want);
}

static int state(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_state : -errno;
}

static void names(const struct pair *p, struct sockaddr_in6 *at)
{
	socklen_t len = sizeof(*at);

	memset(at, 0, 2 * sizeof(*at));
	getsockname(p->client, (struct sockaddr *)&at[0], &len);
	len = sizeof(*at);
	getpeername(p->client, (struct sockaddr *)&at[1], &len);
}

/* A connection to a listener, through a socket of this family. */
static void make_pair(struct pair *p, int family, int listening)
{
	struct sockaddr_in6 at;
	socklen_t len = sizeof(at);

	MUST(getsockname(listening, (struct sockaddr *)&at, &len) == 0);
	if (family == AF_INET6 && at.sin6_family == AF_INET) {
		struct sockaddr_in v4 = *(struct sockaddr_in *)&at;

		memset(&at, 0, sizeof(at));
		at.sin6_family = AF_INET6;
		at.sin6_port = v4.sin_port;
		at.sin6_addr.s6_addr[10] = at.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&at.sin6_addr.s6_addr[12], &v4.sin_addr, 4);
		len = sizeof(at);
	}
	MUST((p->client = socket(family, SOCK_STREAM, 0)) >= 0);
	MUST(connect(p->client, (struct sockaddr *)&at, len) == 0);
	MUST((p->server = accept(listening, NULL, NULL)) >= 0);
	set(p->client, SOL_SOCKET, SO_SNDBUF, 50000); /* the kernel would let it grow to megabytes */
	set(p->server, SOL_SOCKET, SO_SNDBUF, 50000);
	names(p, p->names);
}

static const char *serves_at = "127.0.0.1";

static int listening(int family)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(serves_at) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(family, SOCK_STREAM, 0);

	MUST(fd >= 0);
	set(fd, SOL_SOCKET, SO_RCVBUF, 30000); /* what is accepted inherits it */
	MUST(bind(fd, family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		  family == AF_INET ? sizeof(v4) : sizeof(v6)) == 0 &&
	     listen(fd, 16) == 0);
	return fd;
}

static char byte_at(size_t i, int seed)
{
	return (char)(pattern(seed, i) >> 32);
}

/* Sends until nothing more goes in, and says how much that was. */
static size_t fill_up(int fd, int seed)
{
	size_t sent = 0;
	char buf[4096];
	ssize_t n;

	for (int quiet = 0; quiet < 20;) { /* the kernel goes on moving data for a moment */
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = byte_at(sent + i, seed);
		n = send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			sent += n;
			quiet = 0;
			continue;
		}
		MUST(errno == EAGAIN);
		poll(NULL, 0, 5);
		quiet++;
	}
	return sent;
}

/* Exactly what was sent comes out, and then the end if there is to be one. */
static void drain(const char *what, int fd, size_t want, int seed, int end)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char buf[4096];
	size_t got = 0;
	ssize_t n = -1;

	while (got < want || end) {
		CHECK(poll(&ready, 1, 20000) == 1, "%s: nothing comes after %zu of %zu bytes", what, got, want);
		if ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != byte_at(got + i, seed)) {
				differs("%s: byte %zu of %zu", what, got + i, want);
				return;
			}
		got += n;
	}
	CHECK(got == want, "%s: %zu bytes, want %zu", what, got, want);
	if (end)
		CHECK(n == 0, "%s: no end: %s", what, n < 0 ? strerror(errno) : "data");
	else
		CHECK(recv(fd, buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "%s: something comes after %zu bytes",
		      what, want);
}

static void talk(const char *what, int from, int to)
{
	char got[5] = "";

	CHECK(send(from, "ping", 4, MSG_NOSIGNAL) == 4, "%s: send: %s", what, strerror(errno));
	CHECK(recv(to, got, 4, MSG_WAITALL) == 4 && memcmp(got, "ping", 4) == 0, "%s: got %s", what, got);
}

/* A FIN takes its time. */
static void await_state(struct pair *p, int client, int server)
{
	for (int i = 0; i < 400 && (state(p->client) != client || state(p->server) != server); i++)
		poll(NULL, 0, 5);
	p->states[0] = client;
	p->states[1] = server;
	MUST(state(p->client) == client && state(p->server) == server);
}

#define UNHEARD_BYTES 3000

static struct sock_filter nothing[] = { { BPF_RET | BPF_K, 0, 0, 0 } };

/* A filter of its own keeps the server from hearing what the client sends. */
static void make_unheard(struct pair *p)
{
	struct sock_fprog program = { 1, nothing };
	char buf[UNHEARD_BYTES];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = byte_at(i, 7);
	MUST(setsockopt(p->server, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
	MUST(send(p->client, buf, sizeof(buf), 0) == sizeof(buf));
}

static void check_unheard(struct pair *p)
{
	struct sock_filter filter[1] = { { 0 } };
	socklen_t len = 1;
	char byte;

	CHECK(recv(p->server, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "unheard: is heard");
	CHECK(getsockopt(p->server, SOL_SOCKET, SO_GET_FILTER, filter, &len) == 0 && len == 1 &&
		      filter[0].code == (BPF_RET | BPF_K),
	      "unheard: filter %#x", filter[0].code);
	CHECK(setsockopt(p->server, SOL_SOCKET, SO_DETACH_FILTER, &len, sizeof(len)) == 0, "unheard: %s",
	      strerror(errno));
	drain("unheard", p->server, UNHEARD_BYTES, 7, 0);
	talk("unheard", p->client, p->server);
}

static void make_closing(void)
{
	struct pair *p;

	p = &pairs[LAST_ACK];
	MUST(shutdown(p->client, SHUT_WR) == 0);
	await_state(p, TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
	p->waiting[1] = fill_up(p->server, 5);
	MUST(shutdown(p->server, SHUT_WR) == 0);
	await_state(p, TCP_FIN_WAIT2, TCP_LAST_ACK);
	p = &pairs[CLOSING];
	p->waiting[0] = fill_up(p->client, 6);
	MUST(shutdown(p->client, SHUT_WR) == 0 && shutdown(p->server, SHUT_WR) == 0);
	await_state(p, TCP_CLOSING, TCP_FIN_WAIT2);
}

static void make_pairs(void)
{
	static const int families[] = { AF_INET, AF_INET6, AF_INET6 };
	struct pair *p;

	for (int i = 0; i < nr_pairs; i++)
		make_pair(&pairs[i], i <= MAPPED ? families[i] : AF_INET, i == V6 ? listener6 : listener);
	p = &pairs[V4];
	set(p->client, SOL_TCP, TCP_NODELAY, 1);
	set(p->client, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(p->client, SOL_TCP, TCP_KEEPIDLE, 55);
	set(p->client, SOL_SOCKET, SO_SNDBUF, 70000);
	set(p->server, SOL_SOCKET, SO_REUSEADDR, 1);
	MUST(fcntl(p->client, F_SETFL, O_NONBLOCK) == 0);
	p = &pairs[FULL];
	p->waiting[0] = fill_up(p->client, 1);
	p->waiting[1] = fill_up(p->server, 2);
	make_unheard(&pairs[UNHEARD]);
	p = &pairs[HALF];
	MUST(send(p->client, (char[]){ byte_at(0, 3) }, 1, 0) == 1 && shutdown(p->client, SHUT_WR) == 0);
	p->waiting[0] = 1;
	await_state(p, TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
	p = &pairs[FIN_WAIT1];
	p->waiting[0] = fill_up(p->client, 4);
	MUST(shutdown(p->client, SHUT_WR) == 0);
	await_state(p, TCP_FIN_WAIT1, TCP_ESTABLISHED);
	if (nr_pairs == PAIRS)
		make_closing();
}

static void check_closing(void)
{
	struct pair *p;

	p = &pairs[LAST_ACK];
	drain("last-ack", p->client, p->waiting[1], 5, 1);
	drain("last-ack, back", p->server, 0, 0, 1);
	p = &pairs[CLOSING];
	drain("closing", p->server, p->waiting[0], 6, 1);
	drain("closing, back", p->client, 0, 0, 1);
}

static void check_pairs(void)
{
	struct sockaddr_in6 now[2];
	struct pair *p;

	for (int i = 0; i < nr_pairs; i++) {
		p = &pairs[i];
		names(p, now);
		CHECK(memcmp(now, p->names, sizeof(now)) == 0, "%s: names differ", titles[i]);
		for (int k = 0;
		     p->states[0] && k < 400 && (state(p->client) != p->states[0] || state(p->server) != p->states[1]);
		     k++)
			poll(NULL, 0, 5);
		CHECK(!p->states[0] || (state(p->client) == p->states[0] && state(p->server) == p->states[1]),
		      "%s: states %d, %d, were %d, %d", titles[i], state(p->client), state(p->server), p->states[0],
		      p->states[1]);
	}
	p = &pairs[V4];
	CHECK(fcntl(p->client, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags %#x", fcntl(p->client, F_GETFL));
	CHECK(fcntl(p->server, F_GETFL) == O_RDWR, "flags %#x", fcntl(p->server, F_GETFL));
	fcntl(p->client, F_SETFL, 0);
	check("IPv4", p->client, SOL_TCP, TCP_NODELAY, 1);
	check("IPv4", p->server, SOL_TCP, TCP_NODELAY, 0);
	check("IPv4", p->client, SOL_SOCKET, SO_KEEPALIVE, 1);
	check("IPv4", p->client, SOL_TCP, TCP_KEEPIDLE, 55);
	check("IPv4", p->client, SOL_SOCKET, SO_REUSEADDR, 0);
	check("IPv4", p->server, SOL_SOCKET, SO_REUSEADDR, 1);
	check("IPv4", p->client, SOL_SOCKET, SO_SNDBUF, 140000);
	check("IPv4", p->server, SOL_SOCKET, SO_RCVBUF, 60000);
	for (int i = V4; i <= MAPPED; i++) {
		talk(titles[i], pairs[i].client, pairs[i].server);
		talk(titles[i], pairs[i].server, pairs[i].client);
	}
	p = &pairs[FULL];
	drain("full", p->server, p->waiting[0], 1, 0);
	drain("full, back", p->client, p->waiting[1], 2, 0);
	talk("full", p->client, p->server);
	check_unheard(&pairs[UNHEARD]);
	p = &pairs[HALF];
	drain("half", p->server, 1, 3, 1);
	CHECK(send(p->client, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "half: sends");
	talk("half, back", p->server, p->client);
	p = &pairs[FIN_WAIT1];
	drain("fin-wait-1", p->server, p->waiting[0], 4, 1);
	talk("fin-wait-1, back", p->server, p->client);
	if (nr_pairs == PAIRS)
		check_closing();
}

/* Closed sockets leave no TIME_WAIT behind, which would be in the way of the next restore. */
static void forget(int fd)
{
	struct linger none = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

static void make_reset(void)
{
	struct pair p;
	char byte;

	make_pair(&p, AF_INET, listener);
	forget(p.server);
	MUST(recv(p.client, &byte, 1, 0) < 0 && errno == ECONNRESET);
	MUST(state(p.client) == TCP_CLOSE);
	reset_socket = p.client;
}

static void check_reset(void)
{
	char byte;

	CHECK(state(reset_socket) == TCP_CLOSE, "reset: state %d", state(reset_socket));
	CHECK(recv(reset_socket, &byte, 1, MSG_DONTWAIT) == 0, "reset: %s", strerror(errno));
	CHECK(send(reset_socket, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "reset: sends");
}

#define BLOCK 5000
#define AHEAD 30

static int all(ssize_t (*io)(int, void *, size_t, int), int fd, void *data, size_t size)
{
	ssize_t n;

	for (size_t done = 0; done < size; done += n)
		if ((n = io(fd, (char *)data + done, size - done, MSG_NOSIGNAL)) <= 0)
			return -1;
	return 0;
}

static ssize_t sending(int fd, void *data, size_t size, int flags)
{
	return send(fd, data, size, flags);
}

/* Echoes until the other end has gone, which forgets the connection. */
static void echo_blocks(int fd)
{
	char buf[BLOCK];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (all(sending, fd, buf, n) < 0)
			_exit(2);
	_exit(n < 0 && errno != ECONNRESET);
}

/* Keeps AHEAD blocks on their way; each has to come back as it was, in order. Ends when it is told to. */
static void exchange_blocks(int fd)
{
	struct pollfd told = { .fd = stop[0], .events = POLLIN };
	uint64_t block[BLOCK / 8], sent = 0, got = 0;

	while (sent > got || poll(&told, 1, 0) == 0) {
		for (; sent < got + AHEAD && poll(&told, 1, 0) == 0; sent++) {
			fill(block, sizeof(block), sent);
			if (all(sending, fd, block, sizeof(block)) < 0)
				_exit(3);
		}
		if (sent == got)
			break;
		if (all(recv, fd, block, sizeof(block)) < 0)
			_exit(4);
		check_fill("block", block, sizeof(block), got++);
	}
	fflush(stdout);
	forget(fd);
	_exit(victim_failures || got == 0);
}

static void make_load(void)
{
	struct pair p;

	make_pair(&p, AF_INET, listener);
	set(p.client, SOL_SOCKET, SO_SNDBUF, 200000);
	set(p.server, SOL_SOCKET, SO_SNDBUF, 200000);
	MUST(pipe(stop) == 0 && (echo = fork()) >= 0);
	if (echo == 0) {
		close(p.client);
		echo_blocks(p.server);
	}
	close(p.server);
	MUST((load = fork()) >= 0);
	if (load == 0)
		exchange_blocks(p.client);
	close(p.client);
}

static void check_load(void)
{
	int status;

	CHECK(write(stop[1], "x", 1) == 1, "stop: %s", strerror(errno));
	CHECK(waitpid(load, &status, 0) == load && status == 0, "load: wait status %#x", status);
	CHECK(waitpid(echo, &status, 0) == echo && status == 0, "echo: wait status %#x", status);
}

static int serve(void)
{
	struct sockaddr_in6 at;
	socklen_t len = sizeof(at);
	int status;
	FILE *f;

	victim_begin();
	listener = listening(AF_INET);
	MUST(getsockname(listener, (struct sockaddr *)&at, &len) == 0 && (f = fopen("port", "w")));
	fprintf(f, "%d", ntohs(at.sin6_port));
	fclose(f);
	MUST((echo = fork()) >= 0);
	if (echo == 0) {
		int fd = accept(listener, NULL, NULL);

		close(listener);
		echo_blocks(fd);
	}
	victim_wait();
	CHECK(waitpid(echo, &status, 0) == echo && status == 0, "echo: wait status %#x", status);
	return victim_end();
}

static int dial(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	struct sockaddr_in was, now;
	socklen_t len = sizeof(was);

	victim_begin();
	MUST(connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == EINPROGRESS);
	MUST(state(fd) == TCP_SYN_SENT && getsockname(fd, (struct sockaddr *)&was, &len) == 0);
	victim_wait();
	CHECK(fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags %#x", fcntl(fd, F_GETFL));
	CHECK(poll(&ready, 1, 20000) == 1, "does not get connected: state %d", state(fd));
	check("dial", fd, SOL_SOCKET, SO_ERROR, 0);
	CHECK(getsockname(fd, (struct sockaddr *)&now, &len) == 0 && now.sin_port == was.sin_port, "another port");
	CHECK(send(fd, "ping", 4, MSG_NOSIGNAL) == 4, "send: %s", strerror(errno));
	ready.events = POLLIN; /* the other end closes when it has it */
	CHECK(poll(&ready, 1, 20000) == 1, "no end");
	return victim_end();
}

int main(int argc, char **argv)
{
	if (argc > 2)
		serves_at = argv[2];
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve();
	if (argc > 2 && strcmp(argv[1], "dial") == 0)
		return dial(atoi(argv[2]));
	if (argc > 1 && strcmp(argv[1], "closing") == 0)
		nr_pairs = PAIRS;
	victim_begin();
	listener = listening(AF_INET);
	listener6 = listening(AF_INET6);
	make_load(); /* the children have only the sockets that they need */
	make_pairs();
	make_reset();
	victim_wait();
	check_pairs();
	check_reset();
	check_load();
	for (int i = 0; i < nr_pairs; i++) {
		forget(pairs[i].client);
		forget(pairs[i].server);
	}
	forget(reset_socket);
	return victim_end();
}
