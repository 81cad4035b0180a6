/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that could not be bound with the options that they have by now: SO_REUSEPORT and SO_REUSEADDR were switched
 * off after bind, in one task and across two, for TCP (listening and not) and UDP. Sockets that were shut down without
 * ever having been connected. And IPv6 sockets of addresses that this host does not have (RFC 3849), without
 * IP_FREEBIND by now.
 *
 * ports foreign: IPv4 sockets of such addresses (RFC 5737) as well.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

int victim_failures;

static const struct pair {
	const char *name;
	int type, option, listens;
} pairs[] = {
	{ "TCP listeners", SOCK_STREAM, SO_REUSEPORT, 1 },
	{ "TCP, bound", SOCK_STREAM, SO_REUSEPORT, 0 },
	{ "TCP, bound, SO_REUSEADDR", SOCK_STREAM, SO_REUSEADDR, 0 },
	{ "UDP", SOCK_DGRAM, SO_REUSEPORT, 0 },
	{ "UDP, SO_REUSEADDR", SOCK_DGRAM, SO_REUSEADDR, 0 },
};
#define NR_PAIRS (sizeof(pairs) / sizeof(pairs[0]))

/* Both in the parent, then one in the child only. */
static int first[NR_PAIRS], second[NR_PAIRS], childs[NR_PAIRS], ports[NR_PAIRS];
static int shut_tcp, shut_udp;

static const struct foreign {
	const char *name, *address;
	int family, type, protocol, level, option;
} foreigners[] = {
	{ "TCP, IPv6", "2001:db8::7", AF_INET6, SOCK_STREAM, 0, SOL_IP, IP_FREEBIND },
	{ "UDP, IPv6", "2001:db8::7", AF_INET6, SOCK_DGRAM, 0, SOL_IP, IP_FREEBIND },
	{ "TCP", "192.0.2.7", AF_INET, SOCK_STREAM, 0, SOL_IP, IP_FREEBIND },
	{ "UDP", "192.0.2.7", AF_INET, SOCK_DGRAM, 0, SOL_IP, IP_FREEBIND },
	{ "raw", "192.0.2.7", AF_INET, SOCK_RAW, 253, SOL_IP, IP_FREEBIND },
	{ "raw, IPv6", "2001:db8::7", AF_INET6, SOCK_RAW, 253, SOL_IPV6, IPV6_FREEBIND },
};
#define NR_FOREIGN (int)(sizeof(foreigners) / sizeof(foreigners[0]))
static int foreign[NR_FOREIGN], nr_foreign = 2;

static void set(int fd, int which, int value)
{
	MUST(setsockopt(fd, SOL_SOCKET, which, &value, sizeof(value)) == 0);
}

static int get(int fd, int which)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, SOL_SOCKET, which, &value, &len);
	return value;
}

static int port_of(int fd)
{
	struct sockaddr_in at = { 0 };
	socklen_t len = sizeof(at);

	getsockname(fd, (struct sockaddr *)&at, &len);
	return ntohs(at.sin_port);
}

static int bound(const struct pair *p, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, p->type, 0);

	MUST(fd >= 0);
	set(fd, p->option, 1);
	MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	if (p->listens)
		MUST(listen(fd, 5) == 0);
	return fd;
}

static void set_up(void)
{
	for (size_t i = 0; i < NR_PAIRS; i++) {
		first[i] = bound(&pairs[i], 0);
		ports[i] = port_of(first[i]);
		second[i] = bound(&pairs[i], ports[i]);
	}
	MUST((shut_tcp = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	MUST(shutdown(shut_tcp, SHUT_RDWR) < 0 && errno == ENOTCONN);
	MUST((shut_udp = bound(&pairs[3], 0)) >= 0);
	MUST(shutdown(shut_udp, SHUT_WR) < 0 && errno == ENOTCONN);
}

static void set_up_foreign(const struct foreign *f, int *fd)
{
	struct sockaddr_in6 at6 = { .sin6_family = AF_INET6, .sin6_port = htons(7777) };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7777) };
	int six = f->family == AF_INET6, on = 1, off = 0;

	if (f->type == SOCK_RAW)
		at.sin_port = at6.sin6_port = 0;
	MUST(inet_pton(f->family, f->address, six ? (void *)&at6.sin6_addr : (void *)&at.sin_addr) == 1);
	MUST((*fd = socket(f->family, f->type, f->protocol)) >= 0 &&
	     setsockopt(*fd, f->level, f->option, &on, sizeof(on)) == 0);
	MUST(bind(*fd, six ? (struct sockaddr *)&at6 : (struct sockaddr *)&at, six ? sizeof(at6) : sizeof(at)) == 0);
	MUST(f->type != SOCK_STREAM || listen(*fd, 5) == 0);
	MUST(setsockopt(*fd, f->level, f->option, &off, sizeof(off)) == 0);
}

static void check_foreign(const struct foreign *f, int fd)
{
	char name[INET6_ADDRSTRLEN] = "";
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at), size = sizeof(int);
	int value = -1;

	getsockname(fd, (struct sockaddr *)&at, &len);
	inet_ntop(f->family,
		  f->family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&at)->sin6_addr :
					  (void *)&((struct sockaddr_in *)&at)->sin_addr,
		  name, sizeof(name));
	CHECK(strcmp(name, f->address) == 0, "%s: address %s, was %s", f->name, name, f->address);
	CHECK(getsockopt(fd, f->level, f->option, &value, &size) == 0 && value == 0, "%s: freebind %d", f->name, value);
	CHECK(get(fd, SO_ACCEPTCONN) == (f->type == SOCK_STREAM), "%s: listens %d", f->name, get(fd, SO_ACCEPTCONN));
}

/* The first of each pair gives the option up when everyone is bound. */
static void give_up(void)
{
	for (size_t i = 0; i < NR_PAIRS; i++)
		set(first[i], pairs[i].option, 0);
}

static void check_one(const char *who, int i, int fd, int option)
{
	CHECK(port_of(fd) == ports[i], "%s: %s: port %d, was %d", who, pairs[i].name, port_of(fd), ports[i]);
	CHECK(get(fd, pairs[i].option) == option, "%s: %s: option %d, was %d", who, pairs[i].name,
	      get(fd, pairs[i].option), option);
	CHECK(get(fd, SO_ACCEPTCONN) == (pairs[i].type == SOCK_STREAM && pairs[i].listens), "%s: %s: listens", who,
	      pairs[i].name);
}

static void check_listeners(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(ports[0]) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect: %s", strerror(errno));
	close(fd);
}

static void check_shut(void)
{
	struct pollfd tcp = { .fd = shut_tcp, .events = POLLIN | POLLOUT };
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(ports[3]) };

	CHECK(poll(&tcp, 1, 0) == 1 && (tcp.revents & POLLHUP), "TCP, shut down: events %#x", tcp.revents);
	CHECK(recv(shut_tcp, &tcp, 1, MSG_DONTWAIT) <= 0, "TCP, shut down: reads");
	CHECK(sendto(shut_udp, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == EPIPE,
	      "UDP, shut down: sends");
}

static int child_main(int ready)
{
	sigset_t go;

	for (size_t i = 0; i < NR_PAIRS; i++) {
		close(second[i]);
		childs[i] = bound(&pairs[i], ports[i]);
	}
	MUST(write(ready, "", 1) == 1);
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
	for (size_t i = 0; i < NR_PAIRS; i++)
		check_one("child", i, childs[i], 1);
	return victim_failures != 0;
}

int main(int argc, char **argv)
{
	int ready[2], status;
	pid_t child;
	char byte;

	if (argc > 1 && strcmp(argv[1], "foreign") == 0)
		nr_foreign = NR_FOREIGN;
	victim_begin();
	set_up();
	for (int i = 0; i < nr_foreign; i++)
		set_up_foreign(&foreigners[i], &foreign[i]);
	MUST(pipe(ready) == 0 && (child = fork()) >= 0);
	if (child == 0)
		return child_main(ready[1]);
	MUST(read(ready[0], &byte, 1) == 1);
	give_up();

	victim_wait();
	for (size_t i = 0; i < NR_PAIRS; i++) {
		check_one("parent", i, first[i], 0);
		check_one("parent", i, second[i], 1);
	}
	check_listeners();
	check_shut();
	for (int i = 0; i < nr_foreign; i++)
		check_foreign(&foreigners[i], foreign[i]);
	CHECK(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child && status == 0, "child: status %#x",
	      status);
	return victim_end();
}
