/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet sockets on the loopback interface: raw and datagram, with a filter, with options and memberships, in a fanout
 * group, with a ring that is mapped, of the old kind (SOCK_PACKET), and one of each kind that is not bound. Each has a
 * protocol of its own that nobody else uses (IEEE 802, local experiments).
 */
#include "victim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

int victim_failures;

enum { RAW, DGRAM, FILTERED, OPTIONS, FAN_A, FAN_B, RING, OLD, ANYWHERE, OLD_ANYWHERE, SOCKETS };

#define PROTOCOL 0x88b5
#define BLOCK (1 << 16)

static int fds[SOCKETS];
static uint8_t *ring;

static int protocol(int which)
{
	return htons(which == FILTERED || which == FAN_B ? PROTOCOL + which - 1 : PROTOCOL + which);
}

static void set(int fd, int which, int value)
{
	MUST(setsockopt(fd, SOL_PACKET, which, &value, sizeof(value)) == 0);
}

static void check(const char *what, int fd, int which, int want)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, SOL_PACKET, which, &value, &len) == 0 && value == want, "%s: option %d is %d, want %d",
	      what, which, value, want);
}

static void opened(int which, int type, int bind_it)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = protocol(which),
				  .sll_ifindex = if_nametoindex("lo") };

	MUST((fds[which] = socket(AF_PACKET, type, protocol(which))) >= 0);
	if (bind_it)
		MUST(bind(fds[which], (struct sockaddr *)&at, sizeof(at)) == 0);
}

/* Frames for everybody on the loopback interface; nothing but the victim's sockets wants them. */
static void send_frame(int which, const char *text)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = protocol(which),
				  .sll_ifindex = if_nametoindex("lo"),
				  .sll_halen = 6 };
	int fd = socket(AF_PACKET, SOCK_DGRAM, 0);

	CHECK(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&at, sizeof(at)) == (ssize_t)strlen(text),
	      "send: %s", strerror(errno));
	close(fd);
}

/* How much comes, and whether it ends as sent. */
static int heard(int fd, const char *text, size_t header)
{
	char buf[2000];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	return n == (ssize_t)(header + strlen(text)) && memcmp(buf + header, text, strlen(text)) == 0;
}

static void make_options(void)
{
	struct packet_mreq promiscuous = { .mr_ifindex = if_nametoindex("lo"), .mr_type = PACKET_MR_PROMISC };
	struct packet_mreq multicast = { .mr_ifindex = if_nametoindex("lo"),
					 .mr_type = PACKET_MR_MULTICAST,
					 .mr_alen = 6,
					 .mr_address = { 1, 2, 3, 4, 5, 6 } };

	opened(OPTIONS, SOCK_RAW, 1);
	set(fds[OPTIONS], PACKET_AUXDATA, 1);
	set(fds[OPTIONS], PACKET_ORIGDEV, 1);
	set(fds[OPTIONS], PACKET_VNET_HDR, 1);
	set(fds[OPTIONS], PACKET_LOSS, 1);
	set(fds[OPTIONS], PACKET_RESERVE, 8);
	set(fds[OPTIONS], PACKET_COPY_THRESH, 3);
	set(fds[OPTIONS], PACKET_TIMESTAMP, 1 << 4 /* SOF_TIMESTAMPING_RX_SOFTWARE is 8 */);
	MUST(setsockopt(fds[OPTIONS], SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) == 0);
	MUST(setsockopt(fds[OPTIONS], SOL_PACKET, PACKET_ADD_MEMBERSHIP, &multicast, sizeof(multicast)) == 0);
}

static void check_options(void)
{
	struct packet_mreq promiscuous = { .mr_ifindex = if_nametoindex("lo"), .mr_type = PACKET_MR_PROMISC };
	struct packet_mreq multicast = { .mr_ifindex = if_nametoindex("lo"),
					 .mr_type = PACKET_MR_MULTICAST,
					 .mr_alen = 6,
					 .mr_address = { 1, 2, 3, 4, 5, 6 } };

	check("options", fds[OPTIONS], PACKET_AUXDATA, 1);
	check("options", fds[OPTIONS], PACKET_ORIGDEV, 1);
	check("options", fds[OPTIONS], PACKET_VNET_HDR, 1);
	check("options", fds[OPTIONS], PACKET_LOSS, 1);
	check("options", fds[OPTIONS], PACKET_RESERVE, 8);
	check("options", fds[OPTIONS], PACKET_TIMESTAMP, 1 << 4);
	CHECK(setsockopt(fds[OPTIONS], SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) == 0,
	      "not promiscuous");
	CHECK(setsockopt(fds[OPTIONS], SOL_PACKET, PACKET_DROP_MEMBERSHIP, &multicast, sizeof(multicast)) == 0,
	      "not in the group");
}

static void make_ring(void)
{
	struct tpacket_req request = {
		.tp_block_size = BLOCK, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 2 * BLOCK / 2048
	};

	opened(RING, SOCK_RAW, 1);
	set(fds[RING], PACKET_VERSION, TPACKET_V2);
	MUST(setsockopt(fds[RING], SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) == 0);
	MUST((ring = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fds[RING], 0)) != MAP_FAILED);
}

static void check_ring(void)
{
	struct tpacket2_hdr *frame = (struct tpacket2_hdr *)ring;
	struct pollfd ready = { .fd = fds[RING], .events = POLLIN };

	check("ring", fds[RING], PACKET_VERSION, TPACKET_V2);
	send_frame(RING, "into the ring");
	CHECK(poll(&ready, 1, 10000) == 1, "ring: nothing comes");
	CHECK((frame->tp_status & TP_STATUS_USER) && frame->tp_len == ETH_HLEN + 13 &&
		      memcmp((char *)frame + frame->tp_mac + ETH_HLEN, "into the ring", 13) == 0,
	      "ring: status %#x, %u bytes", frame->tp_status, frame->tp_len);
}

static void make_old(void)
{
	struct sockaddr at = { .sa_family = AF_PACKET, .sa_data = "lo" };

	MUST((fds[OLD] = socket(AF_PACKET, SOCK_PACKET, protocol(OLD))) >= 0);
	MUST(bind(fds[OLD], &at, sizeof(at)) == 0);
	MUST((fds[OLD_ANYWHERE] = socket(AF_PACKET, SOCK_PACKET, protocol(OLD_ANYWHERE))) >= 0);
}

int main(void)
{
	struct sock_filter code[] = { { BPF_LD | BPF_B | BPF_ABS, 0, 0, ETH_HLEN },
				      { BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'y' },
				      { BPF_RET | BPF_K, 0, 0, 0xffff },
				      { BPF_RET | BPF_K, 0, 0, 0 } };
	struct sock_fprog filter = { 4, code };
	struct sockaddr_ll at;
	socklen_t len = sizeof(at);

	victim_begin();
	opened(RAW, SOCK_RAW, 1);
	opened(DGRAM, SOCK_DGRAM, 1);
	opened(FILTERED, SOCK_RAW, 1);
	MUST(setsockopt(fds[FILTERED], SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0);
	make_options();
	opened(FAN_A, SOCK_DGRAM, 1);
	opened(FAN_B, SOCK_DGRAM, 1);
	set(fds[FAN_A], PACKET_FANOUT, (getpid() & 0xffff) | PACKET_FANOUT_LB << 16);
	set(fds[FAN_B], PACKET_FANOUT, (getpid() & 0xffff) | PACKET_FANOUT_LB << 16);
	make_ring();
	make_old();
	opened(ANYWHERE, SOCK_DGRAM, 0);
	MUST(fcntl(fds[DGRAM], F_SETFL, O_NONBLOCK) == 0);

	victim_wait();
	CHECK(getsockname(fds[RAW], (struct sockaddr *)&at, &len) == 0 && at.sll_ifindex == (int)if_nametoindex("lo") &&
		      at.sll_protocol == protocol(RAW),
	      "raw: interface %d, protocol %#x", at.sll_ifindex, at.sll_protocol);
	send_frame(RAW, "raw");
	CHECK(heard(fds[RAW], "raw", ETH_HLEN), "raw: nothing");
	send_frame(DGRAM, "yes");
	CHECK(heard(fds[DGRAM], "yes", 0), "dgram: nothing");
	CHECK(heard(fds[FILTERED], "yes", ETH_HLEN), "filtered: nothing");
	send_frame(DGRAM, "no");
	CHECK(heard(fds[DGRAM], "no", 0) && !heard(fds[FILTERED], "no", ETH_HLEN), "filtered: passes everything");
	CHECK(fcntl(fds[DGRAM], F_GETFL) == (O_RDWR | O_NONBLOCK), "flags %#x", fcntl(fds[DGRAM], F_GETFL));
	CHECK(fcntl(fds[RAW], F_GETFL) == O_RDWR, "flags %#x", fcntl(fds[RAW], F_GETFL));
	check_options();
	for (int i = 0; i < 2; i++)
		send_frame(FAN_A, "fan");
	CHECK(heard(fds[FAN_A], "fan", 0) && heard(fds[FAN_B], "fan", 0), "fanout: not one for each");
	check_ring();
	send_frame(OLD, "old");
	CHECK(heard(fds[OLD], "old", ETH_HLEN), "old: nothing");
	send_frame(ANYWHERE, "anywhere");
	CHECK(heard(fds[ANYWHERE], "anywhere", 0), "anywhere: nothing");
	send_frame(OLD_ANYWHERE, "old, anywhere");
	CHECK(heard(fds[OLD_ANYWHERE], "old, anywhere", ETH_HLEN), "old, anywhere: nothing");
	return victim_end();
}
