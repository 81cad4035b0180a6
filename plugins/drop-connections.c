/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop-connections: ends TCP connections for the program alone. It finds them closed by the other end, which hears
 * nothing: so that of several clones one keeps a connection, and no two go on with one TLS session.
 *
 *	crpie restore -D images --tcp-established --pie-plugin drop-connections.o,peer=10.0.0.7:5432
 *
 * The sockets themselves are disconnected, in repair mode (CAP_NET_ADMIN), in which the kernel sends nothing: all
 * descriptors of a socket, also those of other tasks, and epoll sets find out.
 *
 * It runs with the restorer's privileges. A graft, which has no such stage, runs it last (--allow-skipped-stages).
 */
#include <crpie/fds.h>

#include "address.h"
#include "ready.h"

#define SOL_SOCKET 1
#define SO_ERROR 4
#define SO_PROTOCOL 38
#define PROTOCOL_TCP 6 /* and the level of its options */
#define TCP_REPAIR 19
#define SHUT_BOTH 2
#define NAME_SIZE 128 /* struct sockaddr_storage, socket(7) */

struct walk {
	unsigned int dropped;
	int failed; /* what drop has returned, and logged */
};

/* --- Which --- */

static int is_tcp(int fd)
{
	unsigned int len = sizeof(int);
	int protocol = 0;

	return sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == PROTOCOL_TCP;
}

/* A socket that is not connected has no peer, getpeername(2): ENOTCONN. */
static int ends_of(int fd, struct address *local, struct address *peer)
{
	uint8_t name[NAME_SIZE] = { 0 };
	unsigned int len = sizeof(name);

	if (!is_tcp(fd) || sys_getpeername(fd, name, &len) != 0 || address_of(name, peer) != 0)
		return -1;
	len = sizeof(name);
	return sys_getsockname(fd, name, &len) != 0 ? -1 : address_of(name, local);
}

static int is_all(const struct crpie_ctx *ctx)
{
	int all = 0;

	crpie_param_bool(ctx, "all", &all);
	return all;
}

static int is_chosen(const struct crpie_ctx *ctx, const struct address *local, const struct address *peer)
{
	uint64_t i;

	if (is_all(ctx))
		return 1;
	for (i = 0; i < ctx->nr_params; i++) {
		const struct crpie_param *p = &ctx->params[i];
		struct address pattern;
		int is_peer = crpie_strcmp(p->key, "peer") == 0;

		if ((is_peer || crpie_strcmp(p->key, "local") == 0) && address_parse(p->value, &pattern) == 0 &&
		    address_matches(&pattern, is_peer ? peer : local))
			return 1;
	}
	return 0;
}

/* Every address can be read, and there is one, or all. */
static int check(const struct crpie_ctx *ctx)
{
	unsigned int nr = 0;
	uint64_t i;

	for (i = 0; i < ctx->nr_params; i++) {
		const struct crpie_param *p = &ctx->params[i];
		struct address pattern;

		if (crpie_strcmp(p->key, "peer") != 0 && crpie_strcmp(p->key, "local") != 0)
			continue;
		nr++;
		if (address_parse(p->value, &pattern) == 0)
			continue;
		pr_err(ctx, "%s=%s: want an address, such as 10.0.0.1, 10.0.0.1:80, *:80 or [2001:db8::1]:80", p->key,
		       p->value);
		return -EINVAL;
	}
	if (nr != 0 || is_all(ctx))
		return 0;
	pr_err(ctx, "which connections? peer=ADDRESS:PORT, local=ADDRESS:PORT, or all");
	return -EINVAL;
}

/* --- The end --- */

static long set_repair(int fd, int on)
{
	return sys_setsockopt(fd, PROTOCOL_TCP, TCP_REPAIR, &on, sizeof(on));
}

/*
 * connect(2) to AF_UNSPEC disconnects, and leaves ECONNABORTED, which reading SO_ERROR takes away. shutdown(2) then
 * says ENOTCONN and has reading give the end all the same, net/ipv4/af_inet.c.
 */
static int end(const struct crpie_ctx *ctx, int fd)
{
	uint16_t nowhere[8] = { 0 }; /* AF_UNSPEC */
	unsigned int len = sizeof(int);
	int error = 0;
	long err = set_repair(fd, 1);

	if (err != 0) {
		pr_perror(ctx, err, "descriptor %d: TCP_REPAIR, without which the other end hears of it", fd);
		return (int)err;
	}
	err = sys_connect(fd, nowhere, sizeof(nowhere));
	if (err == 0) {
		err = sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
		sys_shutdown(fd, SHUT_BOTH);
	}
	if (err == 0)
		err = set_repair(fd, 0);
	else
		set_repair(fd, -1); /* TCP_REPAIR_OFF_NO_WP: it goes on as it was, and its peer hears nothing */
	if (err != 0)
		pr_perror(ctx, err, "descriptor %d cannot be disconnected", fd);
	return (int)err;
}

static int drop(struct crpie_ctx *ctx, int fd, void *arg)
{
	struct walk *walk = (struct walk *)arg;
	struct address local, peer;

	if (ends_of(fd, &local, &peer) != 0 || !is_chosen(ctx, &local, &peer))
		return 0;
	walk->failed = end(ctx, fd);
	if (walk->failed == 0) {
		walk->dropped++;
		pr_info(ctx, "descriptor %d: its connection from port %d to port %d is dropped", fd, local.port,
			peer.port);
	}
	return walk->failed;
}

static int drop_all(struct crpie_ctx *ctx)
{
	struct walk walk = { 0, 0 };
	int err = check(ctx);

	if (err != 0)
		return err;
	err = crpie_fd_each(ctx, drop, &walk);
	if (err != walk.failed)
		pr_perror(ctx, err, "cannot look through /proc/self/fd");
	if (err != 0 || walk.dropped != 0)
		return err;
	pr_lack(ctx, "%s has no such connection", ctx->comm);
	return ready_missing(ctx);
}

CR_PLUGIN_REGISTER_DUMMY("drop-connections")
CRPIE_PARAM_STR("peer", CRPIE_OPTIONAL, "ADDRESS, ADDRESS:PORT or *:PORT of the other end; can be given several times")
CRPIE_PARAM_STR("local", CRPIE_OPTIONAL, "the same of this end")
CRPIE_PARAM_BOOL("all", CRPIE_OPTIONAL, "all TCP connections")
READY_MISSING
READY_WITH_PRIVILEGES(drop_all)
