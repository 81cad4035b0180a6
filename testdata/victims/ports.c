/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that could not be bound with the options that they have by now: SO_REUSEPORT and SO_REUSEADDR were switched off
 * after bind, in one task and across two, for TCP (listening and not) and UDP. And sockets that were shut down without ever
 * having been connected.
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
	{"TCP listeners", SOCK_STREAM, SO_REUSEPORT, 1},
	{"TCP, bound", SOCK_STREAM, SO_REUSEPORT, 0},
	{"TCP, bound, SO_REUSEADDR", SOCK_STREAM, SO_REUSEADDR, 0},
	{"UDP", SOCK_DGRAM, SO_REUSEPORT, 0},
	{"UDP, SO_REUSEADDR", SOCK_DGRAM, SO_REUSEADDR, 0},
};
#define NR_PAIRS (sizeof(pairs) / sizeof(pairs[0]))

/* Both in the parent, then one in the child only. */
static int first[NR_PAIRS], second[NR_PAIRS], childs[NR_PAIRS], ports[NR_PAIRS];
static int shut_tcp, shut_udp;

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
	struct sockaddr_in at = {0};
	socklen_t len = sizeof(at);

	getsockname(fd, (struct sockaddr *)&at, &len);
	return ntohs(at.sin_port);
}

static int bound(const struct pair *p, int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
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

/* The first of each pair gives the option up when everyone is bound. */
static void give_up(void)
{
	for (size_t i = 0; i < NR_PAIRS; i++)
		set(first[i], pairs[i].option, 0);
}

static void check_one(const char *who, int i, int fd, int option)
{
	CHECK(port_of(fd) == ports[i], "%s: %s: port %d, was %d", who, pairs[i].name, port_of(fd), ports[i]);
	CHECK(get(fd, pairs[i].option) == option, "%s: %s: option %d, was %d", who, pairs[i].name, get(fd, pairs[i].option), option);
	CHECK(get(fd, SO_ACCEPTCONN) == (pairs[i].type == SOCK_STREAM && pairs[i].listens), "%s: %s: listens", who, pairs[i].name);
}

static void check_listeners(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(ports[0])};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "connect: %s", strerror(errno));
	close(fd);
}

static void check_shut(void)
{
	struct pollfd tcp = {.fd = shut_tcp, .events = POLLIN | POLLOUT};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(ports[3])};

	CHECK(poll(&tcp, 1, 0) == 1 && (tcp.revents & POLLHUP), "TCP, shut down: events %#x", tcp.revents);
	CHECK(recv(shut_tcp, &tcp, 1, MSG_DONTWAIT) <= 0, "TCP, shut down: reads");
	CHECK(sendto(shut_udp, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == EPIPE, "UDP, shut down: sends");
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

int main(void)
{
	int ready[2], status;
	pid_t child;
	char byte;

	victim_begin();
	set_up();
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
	CHECK(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child && status == 0, "child: status %#x", status);
	return victim_end();
}
