/* SPDX-License-Identifier: Apache-2.0 */
/* Every option that getsockopt(2) gives, of sockets of each family: set to another value than it has by default. */
#include "census.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

struct option {
	const char *name;
	int level, number;
};

/* Numbers of include/uapi: asm-generic/socket.h, linux/{tcp,udp,in,in6,netlink}.h. Headers lack the newest. */
static const struct option general[] = {
	{ "SO_DEBUG", 1, 1 },
	{ "SO_REUSEADDR", 1, 2 },
	{ "SO_DONTROUTE", 1, 5 },
	{ "SO_BROADCAST", 1, 6 },
	{ "SO_SNDBUF", 1, 7 },
	{ "SO_RCVBUF", 1, 8 },
	{ "SO_KEEPALIVE", 1, 9 },
	{ "SO_OOBINLINE", 1, 10 },
	{ "SO_NO_CHECK", 1, 11 },
	{ "SO_PRIORITY", 1, 12 },
	{ "SO_REUSEPORT", 1, 15 },
	{ "SO_PASSCRED", 1, 16 },
	{ "SO_RCVLOWAT", 1, 18 },
	{ "SO_TIMESTAMPNS", 1, 35 },
	{ "SO_TIMESTAMP", 1, 29 },
	{ "SO_PASSSEC", 1, 34 },
	{ "SO_MARK", 1, 36 },
	{ "SO_TIMESTAMPING", 1, 37 },
	{ "SO_RXQ_OVFL", 1, 40 },
	{ "SO_WIFI_STATUS", 1, 41 },
	{ "SO_PEEK_OFF", 1, 42 },
	{ "SO_NOFCS", 1, 43 },
	{ "SO_SELECT_ERR_QUEUE", 1, 45 },
	{ "SO_BUSY_POLL", 1, 46 },
	{ "SO_MAX_PACING_RATE", 1, 47 },
	{ "SO_INCOMING_CPU", 1, 49 },
	{ "SO_ZEROCOPY", 1, 60 },
	{ "SO_PREFER_BUSY_POLL", 1, 69 },
	{ "SO_BUSY_POLL_BUDGET", 1, 70 },
	{ "SO_BUF_LOCK", 1, 72 },
	{ "SO_RESERVE_MEM", 1, 73 },
	{ "SO_TXREHASH", 1, 74 },
	{ "SO_RCVMARK", 1, 75 },
	{ "SO_PASSPIDFD", 1, 76 },
	{ "SO_RCVPRIORITY", 1, 82 },
	{ "SO_PASSRIGHTS", 1, 83 },
	{ "SO_INQ", 1, 84 },
	{ NULL, 0, 0 },
};
static const struct option tcp[] = {
	{ "TCP_NODELAY", 6, 1 },
	{ "TCP_MAXSEG", 6, 2 },
	{ "TCP_CORK", 6, 3 },
	{ "TCP_KEEPIDLE", 6, 4 },
	{ "TCP_KEEPINTVL", 6, 5 },
	{ "TCP_KEEPCNT", 6, 6 },
	{ "TCP_SYNCNT", 6, 7 },
	{ "TCP_LINGER2", 6, 8 },
	{ "TCP_DEFER_ACCEPT", 6, 9 },
	{ "TCP_WINDOW_CLAMP", 6, 10 },
	{ "TCP_QUICKACK", 6, 12 },
	{ "TCP_THIN_LINEAR_TIMEOUTS", 6, 16 },
	{ "TCP_THIN_DUPACK", 6, 17 },
	{ "TCP_USER_TIMEOUT", 6, 18 },
	{ "TCP_FASTOPEN", 6, 23 },
	{ "TCP_NOTSENT_LOWAT", 6, 25 },
	{ "TCP_SAVE_SYN", 6, 27 },
	{ "TCP_FASTOPEN_CONNECT", 6, 30 },
	{ "TCP_FASTOPEN_NO_COOKIE", 6, 34 },
	{ "TCP_INQ", 6, 36 },
	{ "TCP_TX_DELAY", 6, 37 },
	{ "TCP_RTO_MAX_MS", 6, 44 },
	{ "TCP_RTO_MIN_US", 6, 45 },
	{ "TCP_DELACK_MAX_US", 6, 46 },
	{ NULL, 0, 0 },
};
static const struct option udp[] = {
	{ "UDP_NO_CHECK6_TX", 17, 101 },
	{ "UDP_NO_CHECK6_RX", 17, 102 },
	{ "UDP_SEGMENT", 17, 103 },
	{ "UDP_GRO", 17, 104 },
	{ NULL, 0, 0 },
};
static const struct option ip[] = {
	{ "IP_TOS", 0, 1 },
	{ "IP_TTL", 0, 2 },
	{ "IP_RECVOPTS", 0, 6 },
	{ "IP_RETOPTS", 0, 7 },
	{ "IP_PKTINFO", 0, 8 },
	{ "IP_MTU_DISCOVER", 0, 10 },
	{ "IP_RECVERR", 0, 11 },
	{ "IP_RECVTTL", 0, 12 },
	{ "IP_RECVTOS", 0, 13 },
	{ "IP_FREEBIND", 0, 15 },
	{ "IP_PASSSEC", 0, 18 },
	{ "IP_TRANSPARENT", 0, 19 },
	{ "IP_RECVORIGDSTADDR", 0, 20 },
	{ "IP_MINTTL", 0, 21 },
	{ "IP_CHECKSUM", 0, 23 },
	{ "IP_BIND_ADDRESS_NO_PORT", 0, 24 },
	{ "IP_RECVFRAGSIZE", 0, 25 },
	{ "IP_RECVERR_RFC4884", 0, 26 },
	{ "IP_MULTICAST_TTL", 0, 33 },
	{ "IP_MULTICAST_LOOP", 0, 34 },
	{ "IP_MULTICAST_ALL", 0, 49 },
	{ "IP_LOCAL_PORT_RANGE", 0, 51 },
	{ NULL, 0, 0 },
};
static const struct option ipv6[] = {
	{ "IPV6_UNICAST_HOPS", 41, 16 },    { "IPV6_MULTICAST_HOPS", 41, 18 },
	{ "IPV6_MULTICAST_LOOP", 41, 19 },  { "IPV6_ROUTER_ALERT_ISOLATE", 41, 30 },
	{ "IPV6_MTU_DISCOVER", 41, 23 },    { "IPV6_RECVERR", 41, 25 },
	{ "IPV6_V6ONLY", 41, 26 },          { "IPV6_MULTICAST_ALL", 41, 29 },
	{ "IPV6_RECVERR_RFC4884", 41, 31 }, { "IPV6_FLOWINFO", 41, 11 },
	{ "IPV6_FLOWINFO_SEND", 41, 33 },   { "IPV6_RECVPKTINFO", 41, 49 },
	{ "IPV6_RECVHOPLIMIT", 41, 51 },    { "IPV6_RECVHOPOPTS", 41, 53 },
	{ "IPV6_RECVRTHDR", 41, 56 },       { "IPV6_RECVDSTOPTS", 41, 58 },
	{ "IPV6_RECVPATHMTU", 41, 60 },     { "IPV6_DONTFRAG", 41, 62 },
	{ "IPV6_RECVTCLASS", 41, 66 },      { "IPV6_TCLASS", 41, 67 },
	{ "IPV6_AUTOFLOWLABEL", 41, 70 },   { "IPV6_ADDR_PREFERENCES", 41, 72 },
	{ "IPV6_MINHOPCOUNT", 41, 73 },     { "IPV6_RECVORIGDSTADDR", 41, 74 },
	{ "IPV6_TRANSPARENT", 41, 75 },     { "IPV6_RECVFRAGSIZE", 41, 77 },
	{ "IPV6_FREEBIND", 41, 78 },        { NULL, 0, 0 },
};
static const struct option netlink[] = {
	{ "NETLINK_PKTINFO", 270, 3 },         { "NETLINK_BROADCAST_ERROR", 270, 4 },
	{ "NETLINK_NO_ENOBUFS", 270, 5 },      { "NETLINK_LISTEN_ALL_NSID", 270, 8 },
	{ "NETLINK_CAP_ACK", 270, 10 },        { "NETLINK_EXT_ACK", 270, 11 },
	{ "NETLINK_GET_STRICT_CHK", 270, 12 }, { NULL, 0, 0 },
};

static struct {
	const char *name;
	int family, type;
	const struct option *lists[4];
	int fd;
} sockets[] = {
	{ "listen", AF_INET, SOCK_STREAM, { general, tcp, ip }, -1 },
	{ "tcp", AF_INET, SOCK_STREAM, { general, tcp, ip }, -1 },
	{ "listen6", AF_INET6, SOCK_STREAM, { general, tcp, ipv6 }, -1 },
	{ "udp", AF_INET, SOCK_DGRAM, { general, udp, ip }, -1 },
	{ "udp6", AF_INET6, SOCK_DGRAM, { general, udp, ipv6 }, -1 },
	{ "unix", AF_UNIX, SOCK_STREAM, { general }, -1 },
	{ "unix datagram", AF_UNIX, SOCK_DGRAM, { general }, -1 },
	{ "netlink", AF_NETLINK, SOCK_RAW, { general, netlink }, -1 },
	{ "raw", AF_INET, SOCK_RAW, { general, ip }, -1 },
	{ "packet", AF_PACKET, SOCK_DGRAM, { general }, -1 },
};
#define NR_SOCKETS (sizeof(sockets) / sizeof(sockets[0]))

static int group[2];

static socklen_t get(int fd, int level, int number, void *value, socklen_t size)
{
	memset(value, 0, size);
	return getsockopt(fd, level, number, value, &size) == 0 ? size : 0;
}

static void bind_to_port(int fd, int family, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 b = { .sin6_family = AF_INET6,
				  .sin6_port = htons(port),
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	if (family == AF_INET)
		MUST(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	else
		MUST(bind(fd, (struct sockaddr *)&b, sizeof(b)) == 0);
}

/* Tries other values until the option has one. */
static void change(const char *socket_name, int fd, const struct option *o)
{
	static const int offers[] = { 1, 0, 2, 3, 7, 100, 5000, 30000 << 16 | 20000 };
	int before, now;
	char key[64];

	snprintf(key, sizeof(key), "%s %s", socket_name, o->name);
	SET(key, get(fd, o->level, o->number, &before, sizeof(before)) > 0);
	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		setsockopt(fd, o->level, o->number, &offers[i], sizeof(int));
		if (get(fd, o->level, o->number, &now, sizeof(now)) > 0 && now != before)
			return;
	}
	lacks(key); /* it cannot be changed */
}

/* socket(7) SO_ATTACH_REUSEPORT_CBPF: of two sockets on one port, the program has the second get every datagram. */
static void set_group(void)
{
	struct sock_filter second = { BPF_RET | BPF_K, 0, 0, 1 };
	struct sock_fprog program = { 1, &second };
	int yes = 1;

	for (int i = 0; i < 2; i++) {
		MUST((group[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) >= 0);
		MUST(setsockopt(group[i], SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0);
		bind_to_port(group[i], AF_INET, 20600);
	}
	SET("SO_ATTACH_REUSEPORT_CBPF", setsockopt(group[0], SOL_SOCKET, 51, &program, sizeof(program)) == 0);
}

/* Without the program the sender's port decides. */
static void tell_members(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(20600),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int first = 0;
	char byte;

	for (int i = 0; i < 40; i++) {
		int from = socket(AF_INET, SOCK_DGRAM, 0);

		MUST(from >= 0 && sendto(from, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1);
		close(from);
	}
	while (recv(group[0], &byte, 1, 0) == 1)
		first++;
	while (recv(group[1], &byte, 1, 0) == 1)
		;
	fact("SO_ATTACH_REUSEPORT_CBPF", "%s", first == 0 ? "in force" : "off");
}

static void set_structures(int fd, int family, int type)
{
	struct sock_filter pass = { BPF_RET | BPF_K, 0, 0, 0xffff };
	struct sock_fprog filter = { 1, &pass };
	struct timeval time = { 7, 0 };
	struct linger linger = { 1, 7 };
	struct ip_mreqn group = { { inet_addr("224.0.0.77") }, { inet_addr("127.0.0.1") }, 0 };
	struct ipv6_mreq group6 = { .ipv6mr_interface = 1 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
	if (family == AF_INET || family == AF_INET6)
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_OPTIONS, "\1\1\1\0", 4);
	if (family == AF_INET && type != SOCK_STREAM) {
		setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group));
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof(group));
	}
	if (family == AF_INET6 && type != SOCK_STREAM && inet_pton(AF_INET6, "ff02::77", &group6.ipv6mr_multiaddr))
		setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group6, sizeof(group6));
	if (type == SOCK_STREAM && family != AF_UNIX) {
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
		setsockopt(fd, IPPROTO_TCP, 33 /* TCP_FASTOPEN_KEY */, "0123456789abcdef", 16);
	}
}

void set_sockets(void)
{
	set_group();
	for (size_t i = 0; i < NR_SOCKETS; i++) {
		int family = sockets[i].family, type = sockets[i].type;
		int fd = socket(family, type, family == AF_INET && type == SOCK_RAW ? 253 : 0);

		MUST(fd >= 0);
		sockets[i].fd = fd;
		for (const struct option *const *list = sockets[i].lists; *list; list++)
			for (const struct option *o = *list; o->name; o++)
				change(sockets[i].name, fd, o);
		set_structures(fd, family, type);
		if ((family == AF_INET || family == AF_INET6) && type != SOCK_RAW)
			bind_to_port(fd, family, 20500 + i);
		if (strncmp(sockets[i].name, "listen", 6) == 0)
			MUST(listen(fd, 7) == 0);
	}
}

static void tell(const char *socket_name, int fd, const char *name, int level, int number)
{
	char value[256], key[64];

	snprintf(key, sizeof(key), "%s %s", socket_name, name);
	fact_bytes(key, value, get(fd, level, number, value, sizeof(value)));
}

/* Lines of /proc/net that have a group. */
static void tell_group(const char *key, const char *path, const char *group)
{
	char line[256];
	FILE *file = fopen(path, "r");
	int found = 0;

	while (file && fgets(line, sizeof(line), file))
		found |= strstr(line, group) != NULL;
	if (file)
		fclose(file);
	fact(key, "%s", found ? "member" : "no member");
}

void tell_sockets(void)
{
	tell_members();
	for (size_t i = 0; i < NR_SOCKETS; i++) {
		const char *name = sockets[i].name;
		int fd = sockets[i].fd;

		for (const struct option *const *list = sockets[i].lists; *list; list++)
			for (const struct option *o = *list; o->name; o++)
				tell(name, fd, o->name, o->level, o->number);
		tell(name, fd, "SO_LINGER", SOL_SOCKET, SO_LINGER);
		tell(name, fd, "SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO);
		tell(name, fd, "SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO);
		tell(name, fd, "SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE);
		tell(name, fd, "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
		tell(name, fd, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
		if (sockets[i].family == AF_INET) {
			tell(name, fd, "IP_OPTIONS", IPPROTO_IP, IP_OPTIONS);
			tell(name, fd, "IP_MULTICAST_IF", IPPROTO_IP, IP_MULTICAST_IF);
		}
		if (sockets[i].lists[1] == tcp) {
			tell(name, fd, "TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION);
			tell(name, fd, "TCP_FASTOPEN_KEY", IPPROTO_TCP, 33);
		}
	}
	tell_group("IP_ADD_MEMBERSHIP", "/proc/self/net/igmp", "4D0000E0");
	tell_group("IPV6_ADD_MEMBERSHIP", "/proc/self/net/igmp6", "ff020000000000000000000000000077");
}
