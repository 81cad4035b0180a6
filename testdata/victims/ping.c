/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ping [plain]: ICMP datagram sockets (icmp(7), net.ipv4.ping_group_range), IPv4 and IPv6: fresh, with options, bound;
 * two of one identifier, of which one has given SO_REUSEADDR up. "plain": the fresh one alone. CRIU dumps them since
 * 4.2, without their peers, and binds none when it restores them.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

int victim_failures;

static int fresh, bound, six, shared[2];
static struct sockaddr_in names[64];

static int opened(int family, int protocol)
{
	int fd = socket(family, SOCK_DGRAM, protocol);

	MUST(fd >= 0);
	return fd;
}

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

static struct sockaddr_in loopback(int identifier)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				     .sin_port = htons(identifier) };
}

static struct sockaddr_in name(int fd)
{
	struct sockaddr_in at = { 0 };
	socklen_t len = sizeof(at);

	getsockname(fd, (struct sockaddr *)&at, &len);
	return at;
}

static void bind_to(int fd, int identifier)
{
	struct sockaddr_in at = loopback(identifier);

	MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	names[fd] = name(fd);
}

static void check_name(const char *what, int fd)
{
	struct sockaddr_in now = name(fd);

	CHECK(memcmp(&now, &names[fd], sizeof(now)) == 0, "%s: identifier %d, was %d", what, ntohs(now.sin_port),
	      ntohs(names[fd].sin_port));
}

/* The kernel answers an echo request, and the answer comes to who has its identifier. */
static void check_echo(const char *what, int fd)
{
	struct icmphdr question = { .type = ICMP_ECHO }, answer = { 0 };
	struct sockaddr_in to = loopback(0);
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	CHECK(sendto(fd, &question, sizeof(question), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(question),
	      "%s: send: %s", what, strerror(errno));
	CHECK(poll(&ready, 1, 10000) == 1 && recv(fd, &answer, sizeof(answer), 0) == sizeof(answer) &&
		      answer.type == ICMP_ECHOREPLY,
	      "%s: type %d", what, answer.type);
	CHECK(answer.un.echo.id == name(fd).sin_port, "%s: identifier %d", what, ntohs(answer.un.echo.id));
}

static void set_up(void)
{
	struct sockaddr_in6 local6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	bound = opened(AF_INET, IPPROTO_ICMP);
	bind_to(bound, 0);
	set(bound, SOL_SOCKET, SO_REUSEADDR, 0); /* icmp sockets are made with it */
	six = opened(AF_INET6, IPPROTO_ICMPV6);
	MUST(bind(six, (struct sockaddr *)&local6, sizeof(local6)) == 0);
	names[six] = name(six);
	for (int i = 0; i < 2; i++) {
		shared[i] = opened(AF_INET, IPPROTO_ICMP);
		set(shared[i], SOL_SOCKET, SO_REUSEADDR, 1);
		bind_to(shared[i], i ? ntohs(names[shared[0]].sin_port) : 0);
	}
	set(shared[0], SOL_SOCKET, SO_REUSEADDR, 0);
}

static void check_bound(void)
{
	check_name("bound", bound);
	check("bound", bound, SOL_SOCKET, SO_REUSEADDR, 0);
	check_echo("bound", bound);
	check_name("six", six);
	check("six", six, SOL_SOCKET, SO_PROTOCOL, IPPROTO_ICMPV6);
	for (int i = 0; i < 2; i++) {
		check_name("shared", shared[i]);
		check("shared", shared[i], SOL_SOCKET, SO_REUSEADDR, i);
	}
}

int main(int argc, char **argv)
{
	int plain = argc > 1 && strcmp(argv[1], "plain") == 0;

	victim_begin();
	fresh = opened(AF_INET, IPPROTO_ICMP);
	set(fresh, SOL_IP, IP_TTL, 7);
	if (!plain)
		set_up();

	victim_wait();
	CHECK(name(fresh).sin_port == 0, "fresh: it has an identifier");
	check("fresh", fresh, SOL_IP, IP_TTL, 7);
	check("fresh", fresh, SOL_SOCKET, SO_PROTOCOL, IPPROTO_ICMP);
	check_echo("fresh", fresh);
	if (!plain)
		check_bound();
	return victim_end();
}
