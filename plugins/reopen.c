/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reopen: opens files of the program anew, by their path, or another file in their place: logs, so that two clones do
 * not write to one.
 *
 *	crpie restore -D images --pie-plugin reopen.o,path=/var/log/app.log,to=/var/log/app-2.log
 *
 * Number, flags and position of each descriptor stay, and those that had one position in common still have.
 *
 * It runs with the restorer's privileges. A graft, which has no such stage, runs it last (--allow-skipped-stages).
 */
#include <crpie/fds.h>

#include "ready.h"

#define MAX_FDS 1024

#define F_GETFD 1
#define F_GETFL 3
#define F_SETFL 4
#define O_WHILE_OPENING 02004400 /* O_CLOEXEC | O_NONBLOCK | O_NOCTTY: it must not wait, and F_SETFL sets the rest */
#define O_CREATING 0300          /* O_CREAT | O_EXCL */

struct descriptor {
	int fd;
	int fresh; /* what takes its place */
	int first; /* index of the first one with the same open file description */
};

static struct descriptor found[MAX_FDS];
static unsigned int nr_found;
static int failed; /* what collect has returned, and logged */

/* --- Which --- */

/* A file that was removed or rotated away shows its old path, proc(5). */
static int is_path(const char *shown, const char *path)
{
	size_t len = crpie_strlen(path);

	return crpie_strncmp(shown, path, len) == 0 &&
	       (shown[len] == '\0' || crpie_strcmp(shown + len, " (deleted)") == 0);
}

/* kcmp(2), KCMP_FILE: 0 if both are one open file description. */
static long compare(const struct crpie_ctx *ctx, int a, int b)
{
	return CRPIE_SYS5(__NR_kcmp, ctx->pid, ctx->pid, 0, a, b);
}

static int find_first(const struct crpie_ctx *ctx, struct descriptor *d)
{
	unsigned int i;

	d->first = (int)nr_found;
	for (i = 0; i < nr_found; i++) {
		long ret;

		if (found[i].first != (int)i)
			continue;
		ret = compare(ctx, found[i].fd, d->fd);
		if (ret < 0) {
			pr_perror(ctx, ret, "kcmp, which says whether descriptors %d and %d have one position",
				  found[i].fd, d->fd);
			return (int)ret;
		}
		if (ret == 0) {
			d->first = (int)i;
			return 0;
		}
	}
	return 0;
}

static int add(struct crpie_ctx *ctx, int fd, const char *path)
{
	struct descriptor d = { fd, -1, 0 };
	char shown[4096 + 16];
	int err = crpie_fd_path(fd, shown, sizeof(shown));

	if (err != 0) {
		pr_perror(ctx, err, "descriptor %d", fd);
		return err;
	}
	if (!is_path(shown, path))
		return 0;
	if (nr_found == MAX_FDS) {
		pr_err(ctx, "more than %d descriptors are open for %s", MAX_FDS, path);
		return -E2BIG;
	}
	err = find_first(ctx, &d);
	found[nr_found++] = d;
	return err;
}

static int collect(struct crpie_ctx *ctx, int fd, void *path)
{
	failed = add(ctx, fd, (const char *)path);
	return failed;
}

static int find_all(struct crpie_ctx *ctx, const char *path)
{
	int err;

	nr_found = 0;
	failed = 0;
	err = crpie_fd_each(ctx, collect, (void *)(uintptr_t)path);
	if (err != failed)
		pr_perror(ctx, err, "cannot look through /proc/self/fd");
	return err;
}

/* --- The new one --- */

/* struct stat of fstat(2): mode, uid and gid follow each other on both machines. */
static int create_like(int old, const char *path, int flags)
{
	uint32_t st[CRPIE_STAT_SIZE / 4];
	long err = sys_newfstatat(old, "", (struct stat *)(void *)st, 0x1000 /* AT_EMPTY_PATH */);
	int fd;

	if (err != 0)
		return (int)err;
	fd = (int)sys_open(path, flags | O_CREATING, st[CRPIE_STAT_MODE / 4] & 0777);
	if (fd < 0)
		return fd;
	err = CRPIE_SYS3(__NR_fchown, fd, st[CRPIE_STAT_MODE / 4 + 1], st[CRPIE_STAT_MODE / 4 + 2]);
	if (err != 0) {
		sys_unlinkat(-100 /* AT_FDCWD */, path, 0); /* it would be found with the wrong owner */
		sys_close(fd);
	}
	return err != 0 ? (int)err : fd;
}

static int open_like(int old, const char *path, int flags)
{
	int fd = (int)sys_open(path, flags | O_WHILE_OPENING, 0);

	if (fd == -ENOENT)
		fd = create_like(old, path, flags | O_WHILE_OPENING);
	if (fd == -EEXIST) /* another task has made it in between */
		fd = (int)sys_open(path, flags | O_WHILE_OPENING, 0);
	return fd;
}

/* Pipes and terminals have no position, lseek(2): ESPIPE. */
static long set_position(const struct crpie_ctx *ctx, int old, int fresh)
{
	const char *position = crpie_param(ctx, "position");
	long at = 0;

	if (crpie_strcmp(position, "end") == 0)
		at = sys_lseek(fresh, 0, 2 /* SEEK_END */);
	else if (crpie_strcmp(position, "keep") == 0)
		at = sys_lseek(old, 0, 1 /* SEEK_CUR */);
	if (at > 0)
		at = sys_lseek(fresh, at, 0 /* SEEK_SET */);
	return at == -ESPIPE ? 0 : at;
}

static int open_fresh(const struct crpie_ctx *ctx, struct descriptor *d, const char *path)
{
	long flags = sys_fcntl(d->fd, F_GETFL, 0), err = flags;

	if (flags >= 0)
		err = d->fresh = open_like(d->fd, path, (int)flags);
	if (err >= 0)
		err = sys_fcntl(d->fresh, F_SETFL, (unsigned long)flags);
	if (err >= 0)
		err = set_position(ctx, d->fd, d->fresh);
	if (err >= 0)
		return 0;
	pr_perror(ctx, err, "cannot open %s for descriptor %d", path, d->fd);
	return (int)err;
}

/* All are open before the first one is replaced. */
static int open_all(const struct crpie_ctx *ctx, const char *path)
{
	unsigned int i;
	int err = 0;

	for (i = 0; err == 0 && i < nr_found; i++)
		if (found[i].first == (int)i)
			err = open_fresh(ctx, &found[i], path);
	return err;
}

static int replace_all(const struct crpie_ctx *ctx)
{
	unsigned int i;
	long err = 0;

	for (i = 0; err >= 0 && i < nr_found; i++) {
		long closes = sys_fcntl(found[i].fd, F_GETFD, 0); /* FD_CLOEXEC is 1 */

		err = sys_dup3(found[found[i].first].fresh, found[i].fd, closes == 1 ? CRPIE_O_CLOEXEC : 0);
		if (err < 0)
			pr_perror(ctx, err, "dup3 to descriptor %d", found[i].fd);
	}
	return err < 0 ? (int)err : 0;
}

static void close_fresh(void)
{
	unsigned int i;

	for (i = 0; i < nr_found; i++)
		if (found[i].fresh >= 0)
			sys_close(found[i].fresh);
}

static int reopen(struct crpie_ctx *ctx)
{
	const char *path = crpie_param(ctx, "path"), *to = crpie_param(ctx, "to");
	int err = find_all(ctx, path);

	if (err == 0 && nr_found == 0) {
		pr_lack(ctx, "%s has no descriptor for %s", ctx->comm, path);
		return ready_missing(ctx);
	}
	if (err == 0)
		err = open_all(ctx, to != NULL ? to : path);
	if (err == 0)
		err = replace_all(ctx);
	close_fresh();
	if (err == 0)
		pr_info(ctx, "%u descriptors for %s are open for %s", nr_found, path, to != NULL ? to : path);
	return err;
}

CR_PLUGIN_REGISTER_DUMMY("reopen")
CRPIE_PARAM_STR("path", CRPIE_REQUIRED, "of the file that is open, as /proc/PID/fd shows it")
CRPIE_PARAM_STR("to", CRPIE_OPTIONAL, "the file that is opened in its place, made if there is none; default: path")
CRPIE_PARAM_ENUM("position", CRPIE_DEFAULT("keep"), "keep start end", "where the program goes on reading or writing")
READY_MISSING
READY_WITH_PRIVILEGES(reopen)
