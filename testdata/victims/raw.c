/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw sockets: ICMP and ICMPv6 with filters, IPv4 and IPv6 of a protocol for experiments (RFC 3692), bound, connected,
 * with headers of their own (IP_HDRINCL, IPV6_HDRINCL), not to be defragmented, bound to an address that the host lacks
 * (IPV6_FREEBIND).
 */
#include "victim.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define EXPERIMENT 253

#ifndef IP_NODEFRAG
#define IP_NODEFRAG 22 /* linux/in.h, which does not go with netinet/in.h */
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif

int victim_failures;

static int icmp, icmp6, bound4, bound6, peered, header4, header6, free6, whole;

static int opened(int family, int protocol)
{
	int fd = socket(family, SOCK_RAW, protocol);

	MUST(fd >= 0);
	return fd;
}

static struct sockaddr_in v4(unsigned addr, int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr), .sin_port = htons(port) };
}

static const struct sockaddr_in6 local6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

/* An address that no host has (RFC 3849). */
static const struct sockaddr_in6 foreign6 = { .sin6_family = AF_INET6,
					      .sin6_addr = { { { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } } } };

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

/* What comes next, without the IPv4 header. */
static ssize_t next(int fd, int header, char *buf, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&ready, 1, 10000) != 1)
		return -1;
	n = recv(fd, buf, size, 0) - header;
	memmove(buf, buf + header, n > 0 ? n : 0);
	return n;
}

/* The kernel answers; its answer comes first because the filter keeps the question out. */
static void check_icmp(void)
{
	struct sockaddr_in local = v4(INADDR_LOOPBACK, 0);
	struct icmphdr question = { .type = ICMP_ECHO, .un.echo.id = getpid() & 0xffff }, *answer;
	char buf[2000];
	ssize_t n;

	question.checksum = 0xffff - (ICMP_ECHO + question.un.echo.id) % 0xffff;
	CHECK(sendto(icmp, &question, sizeof(question), 0, (struct sockaddr *)&local, sizeof(local)) ==
		      sizeof(question),
	      "icmp: %s", strerror(errno));
	do {
		n = next(icmp, 20, buf, sizeof(buf));
		answer = (struct icmphdr *)buf;
		CHECK(n < 0 || answer->type == ICMP_ECHOREPLY, "icmp: type %d", answer->type);
	} while (n > 0 && answer->un.echo.id != question.un.echo.id);
	CHECK(n == sizeof(*answer), "icmp: answer of %zd bytes", n);
}

static void check_experiment(const char *what, int fd, int header, const void *to, socklen_t len)
{
	int sender = socket(((const struct sockaddr *)to)->sa_family, SOCK_RAW, EXPERIMENT);
	char buf[2000] = "";

	CHECK(sendto(sender, what, strlen(what), 0, to, len) == (ssize_t)strlen(what), "%s: send: %s", what,
	      strerror(errno));
	CHECK(next(fd, header, buf, sizeof(buf)) == (ssize_t)strlen(what) && memcmp(buf, what, strlen(what)) == 0,
	      "%s: got %s", what, buf);
	close(sender);
}

/* "plain" as argument: bound to addresses that the host has; criu restore can do no other. */
int main(int argc, char **argv)
{
	const struct sockaddr_in6 *address6 = argc > 1 && strcmp(argv[1], "plain") == 0 ? &local6 : &foreign6;
	struct icmp_filter filter = { ~(1u << ICMP_ECHOREPLY) }, filter_now = { 0 };
	struct sockaddr_in local = v4(INADDR_LOOPBACK, 0), other = v4(INADDR_LOOPBACK + 1, 77), now;
	struct sockaddr_in6 now6;
	struct icmp6_filter filter6, filter6_now;
	socklen_t len = sizeof(filter_now);
	char buf[2000];

	victim_begin();
	icmp = opened(AF_INET, IPPROTO_ICMP);
	MUST(setsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)) == 0);
	icmp6 = opened(AF_INET6, IPPROTO_ICMPV6);
	ICMP6_FILTER_SETBLOCKALL(&filter6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
	MUST(setsockopt(icmp6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof(filter6)) == 0);
	bound4 = opened(AF_INET, EXPERIMENT);
	MUST(bind(bound4, (struct sockaddr *)&local, sizeof(local)) == 0);
	set(bound4, SOL_IP, IP_TTL, 9);
	bound6 = opened(AF_INET6, EXPERIMENT);
	MUST(bind(bound6, (struct sockaddr *)&local6, sizeof(local6)) == 0);
	peered = opened(AF_INET, EXPERIMENT);
	MUST(connect(peered, (struct sockaddr *)&other, sizeof(other)) == 0);
	header4 = opened(AF_INET, IPPROTO_RAW);
	header6 = opened(AF_INET6, EXPERIMENT + 1);
	set(header6, SOL_IPV6, IPV6_HDRINCL, 1);
	free6 = opened(AF_INET6, EXPERIMENT);
	set(free6, SOL_IPV6, IPV6_FREEBIND, 1);
	set(free6, SOL_IPV6, IPV6_RECVPKTINFO, 1);
	MUST(bind(free6, (struct sockaddr *)address6, sizeof(*address6)) == 0);
	whole = opened(AF_INET, EXPERIMENT + 1);
	set(whole, SOL_IP, IP_NODEFRAG, 1);

	victim_wait();
	CHECK(getsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter_now, &len) == 0 && filter_now.data == filter.data,
	      "ICMP_FILTER %#x", filter_now.data);
	len = sizeof(filter6_now);
	CHECK(getsockopt(icmp6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6_now, &len) == 0 &&
		      memcmp(&filter6_now, &filter6, sizeof(filter6)) == 0,
	      "ICMP6_FILTER");
	check_icmp();
	check("bound", bound4, SOL_IP, IP_TTL, 9);
	check_experiment("bound", bound4, 20, &local, sizeof(local));
	check_experiment("bound6", bound6, 0, &local6, sizeof(local6));
	len = sizeof(now);
	CHECK(getpeername(peered, (struct sockaddr *)&now, &len) == 0 && now.sin_addr.s_addr == other.sin_addr.s_addr,
	      "peer: %s", strerror(errno));
	while (recv(bound4, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	CHECK(send(peered, "x", 1, 0) == 1 && recv(bound4, buf, sizeof(buf), MSG_DONTWAIT) < 0,
	      "peer: sends elsewhere");
	check("header", header4, SOL_IP, IP_HDRINCL, 1);
	check("header6", header6, SOL_IPV6, IPV6_HDRINCL, 1);
	check("bound6", bound6, SOL_IPV6, IPV6_HDRINCL, 0);
	check("free6", free6, SOL_IPV6, IPV6_FREEBIND, 1);
	check("free6", free6, SOL_IPV6, IPV6_RECVPKTINFO, 1);
	len = sizeof(now6);
	CHECK(getsockname(free6, (struct sockaddr *)&now6, &len) == 0 &&
		      memcmp(&now6.sin6_addr, &address6->sin6_addr, 16) == 0,
	      "free6");
	check("whole", whole, SOL_IP, IP_NODEFRAG, 1);
	check("whole", whole, SOL_SOCKET, SO_PROTOCOL, EXPERIMENT + 1);
	return victim_end();
}
