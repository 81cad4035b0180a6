/* SPDX-License-Identifier: Apache-2.0 */
/* Uses what the SDK has for sockets, descriptors, children, namespaces and memory in a real process, and checks it. */
#include <linux/in.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/un.h>
#include <linux/utsname.h>

#include <crpie/fds.h>
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/setenv.h>

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			pr_err(ctx, "line %d: %s", __LINE__, #cond);                                                   \
			return -EIO;                                                                                   \
		}                                                                                                      \
	} while (0)

/* Listens on a port that the kernel chooses, which getsockname tells, and is connected to itself. */
static int sockets(struct crpie_ctx *ctx)
{
	struct sockaddr_in addr, name, peer;
	unsigned int len = sizeof(name), peer_len = sizeof(peer);
	int server, client, served;

	crpie_memset(&addr, 0, sizeof(addr));
	addr.sin_family = CRPIE_AF_INET;
	addr.sin_addr.s_addr = 0x0100007f; /* 127.0.0.1 */
	server = (int)sys_socket(CRPIE_AF_INET, CRPIE_SOCK_STREAM | CRPIE_SOCK_CLOEXEC, 0);
	CHECK(server >= 0 && sys_bind(server, &addr, sizeof(addr)) == 0 && sys_listen(server, 1) == 0);
	CHECK(sys_getsockname(server, &name, &len) == 0 && len == sizeof(name) && name.sin_port != 0);
	client = (int)sys_socket(CRPIE_AF_INET, CRPIE_SOCK_STREAM, 0);
	CHECK(client >= 0 && sys_connect(client, &name, sizeof(name)) == 0);
	served = (int)sys_accept4(server, &peer, &peer_len, CRPIE_SOCK_NONBLOCK | CRPIE_SOCK_CLOEXEC);
	CHECK(served >= 0 && sys_read(served, &len, 1) == -EAGAIN);
	len = sizeof(name);
	CHECK(sys_getsockname(client, &name, &len) == 0 && peer.sin_port == name.sin_port);
	len = sizeof(addr);
	CHECK(sys_getpeername(client, &addr, &len) == 0 && addr.sin_addr.s_addr == 0x0100007f);
	sys_close(server);
	sys_close(client);
	sys_close(served);
	return 0;
}

/* Counts descriptors, up to the one in first. */
struct seen {
	int first, last, nr, ordered;
};

static int note(struct crpie_ctx *ctx, int fd, void *arg)
{
	struct seen *seen = (struct seen *)arg;

	(void)ctx;
	seen->ordered &= fd > seen->last;
	seen->last = fd;
	seen->nr++;
	return fd == seen->first ? 42 : 0;
}

static int descriptors(struct crpie_ctx *ctx)
{
	struct seen before = { -1, -1, 0, 1 }, after = { -1, -1, 0, 1 }, stopped = { 0, -1, 0, 1 };
	int i, fds[20]; /* a getdents64 gives fewer than these and the program's own */
	char path[64];

	CHECK(crpie_fd_each(ctx, note, &before) == 0 && before.ordered);
	for (i = 0; i < 20; i++) {
		fds[i] = (int)sys_memfd_create("walked", 0);
		CHECK(fds[i] >= 0);
	}
	CHECK(crpie_fd_each(ctx, note, &after) == 0 && after.nr == before.nr + 20 && after.ordered);
	stopped.first = fds[3];
	CHECK(crpie_fd_each(ctx, note, &stopped) == 42 && stopped.last == fds[3] && stopped.nr < after.nr);
	CHECK(crpie_fd_path(fds[9], path, sizeof(path)) == 0 && crpie_strcmp(path, "/memfd:walked (deleted)") == 0);
	CHECK(crpie_fd_path(fds[9], path, 23) == -ENAMETOOLONG && crpie_fd_path(fds[9], path, 24) == 0);
	for (i = 0; i < 20; i++)
		sys_close(fds[i]);
	CHECK(crpie_fd_path(fds[9], path, sizeof(path)) == -EBADF);
	return 0;
}

static int children(struct crpie_ctx *ctx)
{
	static const char *const argv[] = { "sh", "-c", "exit $X", NULL }, *const envp[] = { "X=8", NULL };
	int status = 0, pid = (int)sys_fork(0);

	if (pid == 0)
		sys_exit_group(7);
	CHECK(pid > 0 && sys_wait4(pid, &status, 0x40000000 /* __WCLONE */, NULL) == pid && status == 7 << 8);
	pid = (int)sys_fork(17 /* SIGCHLD */);
	if (pid == 0) {
		sys_execve("/bin/sh", argv, envp);
		sys_exit_group(9);
	}
	CHECK(pid > 0 && sys_wait4(pid, &status, 0, NULL) == pid && status == 8 << 8);
	CHECK(sys_wait4(-1, &status, 0x40000000, NULL) == -ECHILD);
	return 0;
}

/* The process's name of the machine, and a file system of its own; then back to where it was. */
static int namespaces(struct crpie_ctx *ctx)
{
	struct new_utsname before, name;
	int uts = (int)sys_open("/proc/self/ns/uts", 02000000 /* O_CLOEXEC */, 0), fd;

	CHECK(uts >= 0 && sys_uname(&before) == 0 && sys_unshare(CLONE_NEWUTS | CLONE_NEWNS) == 0);
	CHECK(sys_sethostname("hooked", 6) == 0 && sys_uname(&name) == 0 && crpie_strcmp(name.nodename, "hooked") == 0);
	CHECK(sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(sys_mount("hooked", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k") == 0);
	fd = (int)sys_open("/tmp/file", 0102 /* O_RDWR | O_CREAT */, 0600);
	CHECK(fd >= 0 && sys_umount2("/tmp", 0) == -EBUSY);
	sys_close(fd);
	CHECK(sys_umount2("/tmp", 0) == 0 && sys_umount2("/tmp/none", 0) == -ENOENT);
	CHECK(sys_setns(uts, CLONE_NEWUTS) == 0 && sys_uname(&name) == 0);
	CHECK(crpie_strcmp(name.nodename, before.nodename) == 0 && sys_setns(uts, CLONE_NEWNET) == -EINVAL);
	sys_close(uts);
	return 0;
}

static int set_environment(struct crpie_ctx *ctx)
{
	char value[5001];

	crpie_memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	CHECK(crpie_setenv(ctx, "GROWN", value) == 0);
	CHECK(crpie_setenv(ctx, "SET", "by the plugin") == 0);
	CHECK(crpie_setenv(ctx, "NEW1", "first") == 0 && crpie_setenv(ctx, "NEW2", "") == 0);
	CHECK(crpie_setenv(ctx, "NEW1", "1") == 0);
	CHECK(crpie_setenv(ctx, "", "1") == -EINVAL && crpie_setenv(ctx, "A=B", "1") == -EINVAL);
	return 0;
}

static int no_environment(struct crpie_ctx *ctx)
{
	CHECK(crpie_setenv(ctx, "GROWN", "1") == -ESRCH);
	return 0;
}

static int world(struct crpie_ctx *ctx)
{
	const char *what = crpie_param(ctx, "what");

	if (crpie_strcmp(what, "sockets") == 0)
		return sockets(ctx);
	if (crpie_strcmp(what, "descriptors") == 0)
		return descriptors(ctx);
	if (crpie_strcmp(what, "children") == 0)
		return children(ctx);
	if (crpie_strcmp(what, "namespaces") == 0)
		return namespaces(ctx);
	return crpie_strcmp(what, "environment") == 0 ? set_environment(ctx) : no_environment(ctx);
}

CR_PLUGIN_REGISTER_DUMMY("world")
CRPIE_PARAM_ENUM("what", CRPIE_REQUIRED, "sockets descriptors children namespaces environment none", "is used")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, world)
