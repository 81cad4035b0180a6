/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: tells the program that it was restored, by something that it waits for. docs/plugins.md has the details.
 *
 *	crpie restore -D images --pie-plugin notify.o,signal=USR2
 *	crpie restore -D images --pie-plugin notify.o,fd=5
 *	crpie restore -D images --pie-plugin notify.o,path=/run/app.sock,text=restored
 *	crpie restore -D images --pie-plugin notify.o,generation=/dev/sysgenid
 *
 * Behind plugins that renew something, in the order of the command line, so that the program finds it renewed.
 */
#include <crpie/fds.h>

#include "ready.h"

#define O_WRITE_ONLY 01
#define O_READ_WRITE 02
#define O_SOFTLY 02004400 /* O_CLOEXEC | O_NONBLOCK | O_NOCTTY */

/* --- A signal --- */

static const struct {
	char name[8];
	int nr; /* signal(7): the same on both machines */
} signals[] = {
	{ "HUP", 1 },     { "INT", 2 },   { "QUIT", 3 },   { "USR1", 10 }, { "USR2", 12 },
	{ "ALRM", 14 },   { "TERM", 15 }, { "CHLD", 17 },  { "CONT", 18 }, { "URG", 23 },
	{ "VTALRM", 26 }, { "PROF", 27 }, { "WINCH", 28 }, { "IO", 29 },   { "PWR", 30 },
};

#define MAX_SIGNAL 64

static int signal_number(const char *name)
{
	uint64_t nr = 0;
	unsigned int i;

	if (crpie_parse_u64(&name, &nr) == 0)
		return *name == '\0' && nr <= MAX_SIGNAL ? (int)nr : 0;
	if (crpie_strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (crpie_strcmp(signals[i].name, name) == 0)
			return signals[i].nr;
	return 0;
}

/* The kernel's struct sigaction, of rt_sigaction(2), begins with the handler on both machines. */
static int has_handler(int signal)
{
	uint64_t action[8] = { 0 };

	return CRPIE_SYS4(__NR_rt_sigaction, signal, NULL, action, 8) == 0 && action[0] > 1 /* SIG_IGN */;
}

/* Without a handler most signals end the program. */
static int raise_signal(const struct crpie_ctx *ctx, const char *name)
{
	int signal = signal_number(name);
	long err;

	if (signal == 0) {
		pr_err(ctx, "signal=%s: want a name such as USR1, or a number of 1 to %d", name, MAX_SIGNAL);
		return -EINVAL;
	}
	if (!has_handler(signal)) {
		pr_lack(ctx, "%s has no handler for the signal %s, which is not sent", ctx->comm, name);
		return ready_missing(ctx);
	}
	err = sys_kill(ctx->pid, signal);
	if (err != 0)
		pr_perror(ctx, err, "kill");
	else
		pr_info(ctx, "the signal %s waits for %s", name, ctx->comm);
	return (int)err;
}

/* --- A descriptor --- */

#define TEXT_MAX 4096 /* PIPE_BUF of pipe(7): so much goes into a pipe at once, or nothing */

/* The text and a newline, or -E2BIG. */
static int line(const struct crpie_ctx *ctx, char *buf)
{
	const char *text = crpie_param(ctx, "text");
	size_t len = crpie_strlen(text);

	if (len + 1 > TEXT_MAX) {
		pr_err(ctx, "text has %zu bytes: want at most %d", len, TEXT_MAX - 1);
		return -E2BIG;
	}
	crpie_memcpy(buf, text, len);
	buf[len] = '\n';
	return (int)len + 1;
}

/* Says what became of a write of all of the text at once. */
static int written(const struct crpie_ctx *ctx, long ret, size_t len, const char *where)
{
	if (ret == (long)len) {
		pr_info(ctx, "%zu bytes are written to %s", len, where);
		return 0;
	}
	if (ret >= 0) {
		pr_err(ctx, "only %ld of %zu bytes are written to %s: there is no room for more", ret, len, where);
		return -EAGAIN;
	}
	pr_perror(ctx, ret, "cannot write to %s", where);
	return (int)ret;
}

struct poll_fd { /* struct pollfd, poll(2) */
	int fd;
	short events, revents;
};

#define POLL_OUT 4

#define F_GETFL 3
#define ACCESS_MODE 3 /* O_ACCMODE; 0 is O_RDONLY */

/* A write that would block is not made, nor one that raises SIGPIPE: POLLERR says that nobody reads. */
static int is_writable(const struct crpie_ctx *ctx, int fd, const char *what)
{
	struct poll_fd p = { fd, POLL_OUT, 0 };
	struct __kernel_timespec now = { 0, 0 };
	long ret;

	if ((sys_fcntl(fd, F_GETFL, 0) & ACCESS_MODE) == 0) {
		pr_err(ctx, "descriptor %d (%s) is open for reading alone", fd, what);
		return 0;
	}
	ret = CRPIE_SYS5(__NR_ppoll, &p, 1, &now, NULL, 8);
	if (ret == 1 && p.revents == POLL_OUT)
		return 1;
	pr_err(ctx, "descriptor %d (%s) takes nothing now: %s", fd, what, ret == 1 ? "nobody reads" : "it is full");
	return 0;
}

static int tell_eventfd(const struct crpie_ctx *ctx, int fd, const char *what)
{
	uint64_t one = 1;

	return is_writable(ctx, fd, what) ? written(ctx, sys_write(fd, &one, sizeof(one)), sizeof(one), what) : -EAGAIN;
}

static int tell_pipe(const struct crpie_ctx *ctx, int fd, const char *what)
{
	char text[TEXT_MAX];
	int len = line(ctx, text);

	if (len < 0)
		return len;
	return is_writable(ctx, fd, what) ? written(ctx, sys_write(fd, text, (size_t)len), (size_t)len, what) : -EAGAIN;
}

#define MSG_SOFTLY 0x4040 /* MSG_DONTWAIT | MSG_NOSIGNAL */

static int tell_socket(const struct crpie_ctx *ctx, int fd, const char *what)
{
	char text[TEXT_MAX];
	int len = line(ctx, text);

	return len < 0 ? len : written(ctx, sys_sendto(fd, text, (size_t)len, MSG_SOFTLY, NULL, 0), (size_t)len, what);
}

#define S_IFMT 0170000
#define S_IFIFO 0010000
#define S_IFSOCK 0140000

/* The mode of a file, or a negative errno. */
static int mode_of(int dirfd, const char *path, int flags)
{
	uint32_t st[CRPIE_STAT_SIZE / 4];
	long err = sys_newfstatat(dirfd, path, (struct stat *)(void *)st, flags);

	return err != 0 ? (int)err : (int)st[CRPIE_STAT_MODE / 4];
}

static int tell_descriptor(const struct crpie_ctx *ctx, int fd)
{
	char what[256];
	int mode = mode_of(fd, "", 0x1000 /* AT_EMPTY_PATH */), err;

	if (mode == -EBADF) {
		pr_lack(ctx, "%s has no descriptor %d", ctx->comm, fd);
		return ready_missing(ctx);
	}
	err = mode < 0 ? mode : crpie_fd_path(fd, what, sizeof(what));
	if (err != 0) {
		pr_perror(ctx, err, "cannot see what descriptor %d is", fd);
		return err;
	}
	if ((mode & S_IFMT) == S_IFIFO)
		return tell_pipe(ctx, fd, what);
	if ((mode & S_IFMT) == S_IFSOCK)
		return tell_socket(ctx, fd, what);
	if (crpie_strcmp(what, "anon_inode:[eventfd]") == 0)
		return tell_eventfd(ctx, fd, what);
	pr_err(ctx, "descriptor %d is %s: want an eventfd, a pipe or a socket", fd, what);
	return -EINVAL;
}

/* --- A path --- */

struct unix_address { /* struct sockaddr_un, unix(7) */
	uint16_t family;
	char path[108];
};

/* Connects a socket of the kind that listens at the path. */
static int connect_to(const char *path)
{
	static const int types[] = { CRPIE_SOCK_DGRAM, CRPIE_SOCK_STREAM, CRPIE_SOCK_SEQPACKET };
	struct unix_address at = { CRPIE_AF_UNIX, { 0 } };
	int fd = -1, err = -EPROTOTYPE;
	unsigned int i;

	if (crpie_strlcpy(at.path, path, sizeof(at.path)) >= sizeof(at.path))
		return -ENAMETOOLONG;
	for (i = 0; err == -EPROTOTYPE && i < sizeof(types) / sizeof(types[0]); i++) {
		fd = (int)sys_socket(CRPIE_AF_UNIX, types[i] | CRPIE_SOCK_NONBLOCK | CRPIE_SOCK_CLOEXEC, 0);
		if (fd < 0)
			return fd;
		err = (int)sys_connect(fd, &at, sizeof(at));
		if (err != 0)
			sys_close(fd);
	}
	return err != 0 ? err : fd;
}

static int open_path(const struct crpie_ctx *ctx, const char *path, int mode)
{
	if ((mode & S_IFMT) == S_IFSOCK)
		return connect_to(path);
	if ((mode & S_IFMT) == S_IFIFO)
		return (int)sys_open(path, O_WRITE_ONLY | O_SOFTLY, 0);
	pr_err(ctx, "%s is neither a FIFO nor a socket; generation= is for a regular file", path);
	return -EINVAL;
}

/* ENXIO, open(2): no process has the FIFO open for reading. */
static int tell_path(const struct crpie_ctx *ctx, const char *path)
{
	int mode = mode_of(-100 /* AT_FDCWD */, path, 0), fd, err;

	if (mode == -ENOENT) {
		pr_lack(ctx, "there is no %s", path);
		return ready_missing(ctx);
	}
	fd = mode < 0 ? mode : open_path(ctx, path, mode);
	if (fd == -EINVAL)
		return fd;
	if (fd < 0) {
		pr_perror(ctx, fd, "cannot open %s: does somebody read there?", path);
		return fd;
	}
	err = (mode & S_IFMT) == S_IFSOCK ? tell_socket(ctx, fd, path) : tell_pipe(ctx, fd, path);
	sys_close(fd);
	return err;
}

/* --- A generation, in a file that programs map --- */

/* struct vmclock_abi, <linux/vmclock-abi.h>, little-endian; the counter and its flag are of 2025. */
#define VMCLOCK_MAGIC 0x4b4c4356u /* "VCLK" */
#define VMCLOCK_COUNTER_PRESENT (1u << 8)

struct vmclock {
	uint32_t magic, size;
	uint16_t version;
	uint8_t counter_id, time_type;
	uint32_t seq_count; /* odd while the rest is written */
	uint64_t disruption_marker, flags;
	uint64_t others[9];
	uint64_t generation;
};

CRPIE_STATIC_ASSERT(offsetof(struct vmclock, generation) == 104, "vm_generation_counter lies at 104");

static int put(const struct crpie_ctx *ctx, int fd, const void *from, size_t len, int64_t at)
{
	long ret = sys_pwrite(fd, from, len, at);

	if (ret == (long)len)
		return 0;
	pr_perror(ctx, ret, "cannot write the generation");
	return ret < 0 ? (int)ret : -EIO;
}

/* Another number than *value, and not 0: clones of one checkpoint would all arrive at the same one by counting. */
static int another(const struct crpie_ctx *ctx, void *value, size_t len)
{
	uint64_t old = 0, drawn = 0;
	long ret;

	crpie_memcpy(&old, value, len);
	do {
		ret = sys_getrandom(&drawn, len, 0);
	} while (ret == (long)len && (drawn == old || drawn == 0));
	if (ret != (long)len) {
		pr_perror(ctx, ret, "getrandom");
		return ret < 0 ? (int)ret : -EIO;
	}
	crpie_memcpy(value, &drawn, len);
	return 0;
}

/* Readers begin anew if seq_count is odd or has changed meanwhile. Memory, file and mapping are one on Linux. */
static int new_vmclock(const struct crpie_ctx *ctx, int fd, struct vmclock *clock)
{
	uint32_t seq = clock->seq_count | 1;
	int err = another(ctx, &clock->generation, 8), even;

	if (err == 0)
		err = another(ctx, &clock->disruption_marker, 8);
	if (err == 0)
		err = put(ctx, fd, &seq, 4, offsetof(struct vmclock, seq_count));
	if (err != 0)
		return err;
	err = put(ctx, fd, &clock->disruption_marker, 8, offsetof(struct vmclock, disruption_marker));
	if (err == 0)
		err = put(ctx, fd, &clock->generation, 8, offsetof(struct vmclock, generation));
	seq++;
	even = put(ctx, fd, &seq, 4, offsetof(struct vmclock, seq_count)); /* or readers would wait for ever */
	return err != 0 ? err : even;
}

/* sysgenid's file is one number of 32 bits; it may be as long as a page, of which nothing else is used. */
static int is_number(const struct vmclock *file, long len)
{
	const unsigned char *byte = (const unsigned char *)file;
	long i;

	for (i = 4; i < len; i++)
		if (byte[i] != 0)
			return 0;
	return len >= 4;
}

static int new_generation(const struct crpie_ctx *ctx, int fd, const char *path)
{
	struct vmclock clock = { 0 };
	long len = sys_pread(fd, &clock, sizeof(clock), 0);
	int err;

	if (len < 4 || (clock.magic != VMCLOCK_MAGIC && !is_number(&clock, len))) {
		pr_err(ctx, "%s is neither a number of 4 bytes, alone or with zeros behind it, nor a vmclock", path);
		return -EINVAL;
	}
	if (clock.magic != VMCLOCK_MAGIC) {
		err = another(ctx, &clock.magic, 4);
		return err != 0 ? err : put(ctx, fd, &clock.magic, 4, 0);
	}
	if (len == (long)sizeof(clock) && (clock.flags & VMCLOCK_COUNTER_PRESENT) != 0)
		return new_vmclock(ctx, fd, &clock);
	pr_err(ctx, "the vmclock %s has no generation (flag 0x%x)", path, VMCLOCK_COUNTER_PRESENT);
	return -EINVAL;
}

static int tell_generation(const struct crpie_ctx *ctx, const char *path)
{
	int err = crpie_param_is_file(-100 /* AT_FDCWD */, path, 0), fd;

	if (err == -ENOENT) {
		pr_lack(ctx, "there is no %s", path);
		return ready_missing(ctx);
	}
	fd = err != 0 ? err : (int)sys_open(path, O_READ_WRITE | O_SOFTLY, 0);
	if (err == CRPIE_PARAM_NOTFILE)
		pr_err(ctx, "%s is not a regular file", path);
	else if (fd < 0)
		pr_perror(ctx, fd, "cannot open %s for writing, with the program's rights", path);
	if (fd < 0)
		return fd;
	err = new_generation(ctx, fd, path);
	sys_close(fd);
	if (err == 0)
		pr_info(ctx, "%s has another generation", path);
	return err;
}

static int notify(struct crpie_ctx *ctx)
{
	const char *signal = crpie_param(ctx, "signal"), *path = crpie_param(ctx, "path"),
		   *generation = crpie_param(ctx, "generation");
	uint64_t fd = 0;

	if (signal != NULL)
		return raise_signal(ctx, signal);
	if (path != NULL)
		return tell_path(ctx, path);
	if (generation != NULL)
		return tell_generation(ctx, generation);
	crpie_param_u64(ctx, "fd", 0, INT32_MAX, &fd);
	return tell_descriptor(ctx, (int)fd);
}

CR_PLUGIN_REGISTER_DUMMY("notify")
CRPIE_PARAM_ONE_OF("signal fd path generation", CRPIE_REQUIRED)
CRPIE_PARAM_STR("signal", CRPIE_OPTIONAL, "a name such as USR1, or a number: sent if the program has a handler for it")
CRPIE_PARAM_INT("fd", CRPIE_OPTIONAL, 0, INT32_MAX, "descriptor of an eventfd, to which 1 is added, a pipe or a socket")
CRPIE_PARAM_STR("path", CRPIE_OPTIONAL, "of a FIFO or a unix socket")
CRPIE_PARAM_STR("generation", CRPIE_OPTIONAL, "regular file as of sysgenid or vmclock, which gets another number")
CRPIE_PARAM_STR("text", CRPIE_DEFAULT("restored"), "for pipes and sockets, with a newline behind it")
READY_MISSING
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, notify)
