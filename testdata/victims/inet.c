/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internet sockets without a TCP connection: listeners (IPv4, IPv6 only, IPv4 and IPv6 on one port, SO_REUSEPORT twice,
 * one shared with a child), a TCP socket that is bound and one that is fresh, UDP sockets that are bound, connected to
 * each other, or neither, shut down, bound to an interface, to an address that is not this host's; UDP-Lite; options.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>

int victim_failures;

static int listener, listener6, reuse[2], tcp_bound, tcp_fresh;
static int udp_server, udp_client, udp_any, udp_fresh, udp6, udp_shut, udp_device, udp_foreign, udplite, options;
static int both4, both6;
static struct sockaddr_in6 names[40];

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

static socklen_t name(int fd, struct sockaddr_in6 *at)
{
	socklen_t len = sizeof(*at);

	memset(at, 0, sizeof(*at));
	MUST(getsockname(fd, (struct sockaddr *)at, &len) == 0);
	return len;
}

static void remember(int fd)
{
	name(fd, &names[fd]);
}

static void check_name(const char *what, int fd)
{
	struct sockaddr_in6 now;

	name(fd, &now);
	CHECK(memcmp(&now, &names[fd], sizeof(now)) == 0, "%s: port %d, was %d", what, ntohs(now.sin6_port),
	      ntohs(names[fd].sin6_port));
}

/* Bound to a port of the kernel's choice, or to the one of another socket. */
static int bound(int family, int type, int like, int reuseport)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(family, type, 0);

	MUST(fd >= 0);
	if (reuseport)
		set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (like >= 0)
		v4.sin_port = names[like].sin6_port;
	if (family == AF_INET)
		MUST(bind(fd, (struct sockaddr *)&v4, sizeof(v4)) == 0);
	else
		MUST(bind(fd, (struct sockaddr *)&v6, sizeof(v6)) == 0);
	remember(fd);
	return fd;
}

static void bind_to(int fd, in_addr_t addr)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr) };

	MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	remember(fd);
}

static void connect_to(int fd, int other)
{
	struct sockaddr_in6 at;
	socklen_t len = name(other, &at);

	CHECK(connect(fd, (struct sockaddr *)&at, len) == 0, "connect: %s", strerror(errno));
}

static void talk_tcp(const char *what, int listening)
{
	struct sockaddr_in6 at;
	socklen_t len = name(listening, &at);
	int fd = socket(at.sin6_family, SOCK_STREAM, 0), other;
	char byte = 0;

	check(what, listening, SOL_SOCKET, SO_ACCEPTCONN, 1);
	CHECK(connect(fd, (struct sockaddr *)&at, len) == 0, "%s: connect: %s", what, strerror(errno));
	CHECK((other = accept(listening, NULL, NULL)) >= 0, "%s: accept: %s", what, strerror(errno));
	CHECK(send(fd, "x", 1, MSG_NOSIGNAL) == 1 && read(other, &byte, 1) == 1 && byte == 'x', "%s: no data", what);
	close(fd);
	close(other);
}

static void talk_udp(const char *what, int from, int to)
{
	char got[8] = "";

	CHECK(send(from, "ping", 4, 0) == 4, "%s: send: %s", what, strerror(errno));
	CHECK(recv(to, got, sizeof(got), 0) == 4 && memcmp(got, "ping", 4) == 0, "%s: got %s", what, got);
}

/* The child has the listener, too, and lives as long as nobody ends it. */
static pid_t sharing_child(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void make_tcp(void)
{
	listener = bound(AF_INET, SOCK_STREAM, -1, 0);
	set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
	set(listener, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(listener, SOL_TCP, TCP_NODELAY, 1);
	set(listener, SOL_TCP, TCP_KEEPIDLE, 77);
	set(listener, SOL_IP, IP_TTL, 33);
	set(listener, SOL_SOCKET, SO_RCVBUF, 20000);
	MUST(listen(listener, 7) == 0 && fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
	listener6 = socket(AF_INET6, SOCK_STREAM, 0);
	set(listener6, SOL_IPV6, IPV6_V6ONLY, 1);
	MUST(listen(listener6, 5) == 0); /* binds it */
	remember(listener6);
	reuse[0] = bound(AF_INET, SOCK_STREAM, -1, 1);
	reuse[1] = bound(AF_INET, SOCK_STREAM, reuse[0], 1);
	MUST(listen(reuse[0], 5) == 0 && listen(reuse[1], 5) == 0);
	both6 = socket(AF_INET6, SOCK_STREAM, 0);
	set(both6, SOL_IPV6, IPV6_V6ONLY, 1);
	MUST(listen(both6, 5) == 0);
	remember(both6);
	both4 = bound(AF_INET, SOCK_STREAM, both6, 0);
	MUST(listen(both4, 5) == 0);
	tcp_bound = bound(AF_INET, SOCK_STREAM, -1, 0);
	MUST((tcp_fresh = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
}

static void check_tcp(void)
{
	check_name("listener", listener);
	check("listener", listener, SOL_SOCKET, SO_REUSEADDR, 1);
	check("listener", listener, SOL_SOCKET, SO_KEEPALIVE, 1);
	check("listener", listener, SOL_TCP, TCP_NODELAY, 1);
	check("listener", listener, SOL_TCP, TCP_KEEPIDLE, 77);
	check("listener", listener, SOL_IP, IP_TTL, 33);
	check("listener", listener, SOL_SOCKET, SO_RCVBUF, 40000);
	CHECK(fcntl(listener, F_GETFL) == (O_RDWR | O_NONBLOCK), "flags %#x", fcntl(listener, F_GETFL));
	CHECK(fcntl(listener6, F_GETFL) == O_RDWR, "flags %#x", fcntl(listener6, F_GETFL));
	fcntl(listener, F_SETFL, 0);
	talk_tcp("listener", listener);
	check_name("listener6", listener6);
	check("listener6", listener6, SOL_IPV6, IPV6_V6ONLY, 1);
	talk_tcp("listener6", listener6);
	talk_tcp("both, IPv6", both6);
	talk_tcp("both, IPv4", both4);
	check_name("reuseport", reuse[0]);
	check_name("reuseport", reuse[1]);
	check("reuseport", reuse[0], SOL_SOCKET, SO_ACCEPTCONN, 1);
	check("reuseport", reuse[1], SOL_SOCKET, SO_REUSEPORT, 1);
	check_name("tcp bound", tcp_bound);
	check("tcp bound", tcp_bound, SOL_SOCKET, SO_REUSEADDR, 0);
	CHECK(listen(tcp_bound, 1) == 0, "tcp bound: listen: %s", strerror(errno));
	connect_to(tcp_fresh, tcp_bound);
}

/* foreign: one socket has an address that this host does not; criu restore gives up there. */
static void make_udp(int foreign)
{
	udp_server = bound(AF_INET, SOCK_DGRAM, -1, 0);
	udp_client = bound(AF_INET, SOCK_DGRAM, -1, 0);
	connect_to(udp_server, udp_client);
	connect_to(udp_client, udp_server);
	udp_any = bound(AF_INET, SOCK_DGRAM, -1, 1);
	set(udp_any, SOL_SOCKET, SO_BROADCAST, 1);
	MUST((udp_fresh = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	udp6 = bound(AF_INET6, SOCK_DGRAM, -1, 0);
	udp_shut = bound(AF_INET, SOCK_DGRAM, -1, 0);
	connect_to(udp_shut, udp_any);
	MUST(shutdown(udp_shut, SHUT_WR) == 0);
	udp_device = socket(AF_INET, SOCK_DGRAM, 0);
	MUST(setsockopt(udp_device, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2) == 0);
	bind_to(udp_device, INADDR_ANY);
	udp_foreign = socket(AF_INET, SOCK_DGRAM, 0);
	set(udp_foreign, SOL_IP, IP_FREEBIND, 1);
	bind_to(udp_foreign, foreign ? 0xc0000201 /* 192.0.2.1, RFC 5737 */ : INADDR_LOOPBACK);
	if ((udplite = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)) >= 0) /* Linux 7.1 has none */
		bind_to(udplite, INADDR_LOOPBACK);
}

static void check_more_udp(void)
{
	char device[16] = "";
	socklen_t len = sizeof(device);

	check_name("udp shut", udp_shut);
	CHECK(send(udp_shut, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "udp shut: sends");
	check_name("udp device", udp_device);
	CHECK(getsockopt(udp_device, SOL_SOCKET, SO_BINDTODEVICE, device, &len) == 0 && strcmp(device, "lo") == 0,
	      "udp device: %s", device);
	check_name("udp foreign", udp_foreign);
	check("udp foreign", udp_foreign, SOL_IP, IP_FREEBIND, 1);
	if (udplite >= 0) {
		check_name("udplite", udplite);
		check("udplite", udplite, SOL_SOCKET, SO_PROTOCOL, IPPROTO_UDPLITE);
	}
}

static struct sock_filter nothing[] = { { BPF_RET | BPF_K, 0, 0, 0 } };

static void make_options(void)
{
	struct sock_fprog program = { 1, nothing };
	struct timeval half = { 1, 500000 };
	struct linger linger = { 1, 7 };

	options = bound(AF_INET, SOCK_STREAM, -1, 0);
	set(options, SOL_IP, IP_TOS, 0x10);
	set(options, SOL_IP, IP_PKTINFO, 1);
	set(options, SOL_SOCKET, SO_PRIORITY, 3);
	set(options, SOL_SOCKET, SO_MARK, 77);
	set(options, SOL_SOCKET, SO_RCVLOWAT, 9);
	set(options, SOL_SOCKET, SO_OOBINLINE, 1);
	set(options, SOL_SOCKET, SO_DONTROUTE, 1);
	set(options, SOL_SOCKET, SO_SNDBUF, 30000);
	set(options, SOL_TCP, TCP_KEEPINTVL, 11);
	set(options, SOL_TCP, TCP_KEEPCNT, 4);
	MUST(setsockopt(options, SOL_SOCKET, SO_SNDTIMEO, &half, sizeof(half)) == 0);
	MUST(setsockopt(options, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	MUST(setsockopt(options, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

static void check_options(void)
{
	struct sock_filter filter[1] = { { 0 } };
	struct timeval timeout = { 0, 0 };
	struct linger linger = { 0, 0 };
	socklen_t timeout_len = sizeof(timeout), linger_len = sizeof(linger), filter_len = 1;

	check("options", options, SOL_IP, IP_TOS, 0x10);
	check("options", options, SOL_IP, IP_PKTINFO, 1);
	check("options", options, SOL_SOCKET, SO_PRIORITY, 3);
	check("options", options, SOL_SOCKET, SO_MARK, 77);
	check("options", options, SOL_SOCKET, SO_RCVLOWAT, 9);
	check("options", options, SOL_SOCKET, SO_OOBINLINE, 1);
	check("options", options, SOL_SOCKET, SO_DONTROUTE, 1);
	check("options", options, SOL_SOCKET, SO_SNDBUF, 60000);
	check("options", options, SOL_TCP, TCP_KEEPINTVL, 11);
	check("options", options, SOL_TCP, TCP_KEEPCNT, 4);
	check("options", options, SOL_TCP, TCP_NODELAY, 0);
	CHECK(getsockopt(options, SOL_SOCKET, SO_SNDTIMEO, &timeout, &timeout_len) == 0 && timeout.tv_sec == 1 &&
		      timeout.tv_usec == 500000,
	      "SO_SNDTIMEO %ld.%06ld", (long)timeout.tv_sec, (long)timeout.tv_usec);
	CHECK(getsockopt(options, SOL_SOCKET, SO_LINGER, &linger, &linger_len) == 0 && linger.l_onoff &&
		      linger.l_linger == 7,
	      "SO_LINGER %d, %d", linger.l_onoff, linger.l_linger);
	CHECK(getsockopt(options, SOL_SOCKET, SO_GET_FILTER, filter, &filter_len) == 0 && filter_len == 1 &&
		      filter[0].code == (BPF_RET | BPF_K),
	      "SO_ATTACH_FILTER: %d", filter[0].code);
}

static void check_udp(void)
{
	check_name("udp server", udp_server);
	check_name("udp client", udp_client);
	talk_udp("udp", udp_client, udp_server);
	talk_udp("udp back", udp_server, udp_client);
	check_name("udp any", udp_any);
	check("udp any", udp_any, SOL_SOCKET, SO_BROADCAST, 1);
	check("udp server", udp_server, SOL_SOCKET, SO_BROADCAST, 0);
	connect_to(udp_fresh, udp_any);
	talk_udp("udp fresh", udp_fresh, udp_any);
	check_name("udp6", udp6);
}

int main(int argc, char **argv)
{
	pid_t child;

	victim_begin();
	make_tcp();
	make_udp(argc > 1 && strcmp(argv[1], "foreign") == 0);
	make_options();
	child = sharing_child();
	victim_wait();
	check_tcp();
	check_udp();
	check_more_udp();
	check_options();
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child, "child");
	return victim_end();
}
