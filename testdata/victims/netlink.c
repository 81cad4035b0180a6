/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink sockets: with a port of the kernel's choice and one of its own, in groups, connected to the kernel and to another
 * socket, fresh, of several protocols, with options; one that hears of devices.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

int victim_failures;

enum { ROUTE, GROUPS, OWN, TO_KERNEL, TO_OWN, FRESH, GENERIC, UEVENT, SOCKETS };

static int fds[SOCKETS];
static struct sockaddr_nl names[SOCKETS], peers[SOCKETS];

static int opened(int which, int protocol)
{
	MUST((fds[which] = socket(AF_NETLINK, SOCK_RAW, protocol)) >= 0);
	return fds[which];
}

static void bound(int which, int protocol, unsigned port, unsigned groups)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };

	MUST(bind(opened(which, protocol), (struct sockaddr *)&at, sizeof(at)) == 0);
}

static void connected(int which, unsigned port)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_pid = port };

	MUST(connect(opened(which, NETLINK_ROUTE), (struct sockaddr *)&at, sizeof(at)) == 0);
}

static void look(int which, struct sockaddr_nl *name, struct sockaddr_nl *peer)
{
	socklen_t len = sizeof(*name);

	memset(name, 0, sizeof(*name));
	memset(peer, 0, sizeof(*peer));
	MUST(getsockname(fds[which], (struct sockaddr *)name, &len) == 0);
	len = sizeof(*peer);
	MUST(getpeername(fds[which], (struct sockaddr *)peer, &len) == 0);
}

/* The kernel answers with the loopback interface. */
static void ask(const char *what, int fd)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = { { sizeof(request), RTM_GETLINK, NLM_F_REQUEST, 77, 0 },
		      { .ifi_family = AF_UNSPEC, .ifi_index = 1 } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char buf[16384];
	struct nlmsghdr *answer = (struct nlmsghdr *)buf;
	ssize_t n;

	CHECK(sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&kernel, sizeof(kernel)) == sizeof(request),
	      "%s: %s", what, strerror(errno));
	n = recv(fd, buf, sizeof(buf), 0);
	CHECK(n > (ssize_t)sizeof(*answer) && answer->nlmsg_type == RTM_NEWLINK && answer->nlmsg_seq == 77,
	      "%s: answer of %zd bytes, type %d", what, n, n > 0 ? answer->nlmsg_type : 0);
}

/* A device that is asked to says that it has changed. */
static void check_uevent(void)
{
	struct pollfd ready = { .fd = fds[UEVENT], .events = POLLIN };
	char buf[4096] = "";
	int fd = open("/sys/class/mem/null/uevent", O_WRONLY);

	CHECK(fd >= 0 && write(fd, "change", 6) == 6, "uevent: %s", strerror(errno));
	for (int tries = 0; tries < 1000; tries++) { /* others may have changed as well */
		if (poll(&ready, 1, 10000) != 1)
			break;
		recv(fds[UEVENT], buf, sizeof(buf) - 1, 0);
		if (strcmp(buf, "change@/devices/virtual/mem/null") == 0)
			return;
	}
	differs("uevent: none comes, the last was %s", buf);
}

int main(void)
{
	int value = -1;
	socklen_t len = sizeof(value);
	struct sockaddr_nl name, peer;

	victim_begin();
	bound(ROUTE, NETLINK_ROUTE, 0, 0);
	bound(GROUPS, NETLINK_ROUTE, 0, RTMGRP_NEIGH | (1u << (RTNLGRP_IPV4_RULE - 1)));
	bound(OWN, NETLINK_ROUTE, getpid() + (1 << 24), 0);
	connected(TO_KERNEL, 0);
	connected(TO_OWN, getpid() + (1 << 24));
	opened(FRESH, NETLINK_ROUTE);
	bound(GENERIC, NETLINK_GENERIC, 0, 0);
	bound(UEVENT, NETLINK_KOBJECT_UEVENT, 0, 1);
	value = 77777;
	MUST(setsockopt(fds[ROUTE], SOL_SOCKET, SO_RCVBUF, &value, sizeof(value)) == 0);
	MUST(fcntl(fds[GENERIC], F_SETFL, O_NONBLOCK) == 0);
	for (int i = 0; i < SOCKETS; i++)
		look(i, &names[i], &peers[i]);

	victim_wait();
	for (int i = 0; i < SOCKETS; i++) {
		look(i, &name, &peer);
		CHECK(memcmp(&name, &names[i], sizeof(name)) == 0, "socket %d: port %u, groups %#x, were %u, %#x", i,
		      name.nl_pid, name.nl_groups, names[i].nl_pid, names[i].nl_groups);
		/* without its groups: of a peer that has none criu restore makes one of the last group */
		CHECK(peer.nl_pid == peers[i].nl_pid, "socket %d: peer %u, was %u", i, peer.nl_pid, peers[i].nl_pid);
	}
	CHECK(getsockopt(fds[ROUTE], SOL_SOCKET, SO_RCVBUF, &value, &len) == 0 && value == 155554, "SO_RCVBUF %d",
	      value);
	CHECK(getsockopt(fds[GENERIC], SOL_SOCKET, SO_PROTOCOL, &value, &len) == 0 && value == NETLINK_GENERIC,
	      "protocol %d", value);
	CHECK(fcntl(fds[GENERIC], F_GETFL) == (O_RDWR | O_NONBLOCK), "flags %#x", fcntl(fds[GENERIC], F_GETFL));
	CHECK(fcntl(fds[ROUTE], F_GETFL) == O_RDWR, "flags %#x", fcntl(fds[ROUTE], F_GETFL));
	ask("route", fds[ROUTE]);
	ask("own", fds[OWN]);
	ask("connected", fds[TO_KERNEL]);
	ask("fresh", fds[FRESH]);
	CHECK(send(fds[TO_OWN], "ping", 4, 0) == 4 && recv(fds[OWN], &value, 4, 0) == 4 &&
		      memcmp(&value, "ping", 4) == 0,
	      "to another socket: %s", strerror(errno));
	check_uevent();
	return victim_end();
}
