/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the open descriptors, which are the program's from PIE_RST_POST_FILES on. It reads /proc/self/fd, proc(5),
 * and therefore takes a /proc of the process's own pid namespace: without one it is -ENOENT.
 */
#ifndef CRPIE_FDS_H
#define CRPIE_FDS_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/log.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

/* struct linux_dirent64, getdents64(2). */
struct crpie_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen; /* bytes to the next one */
};

#define CRPIE_DIRENT_NAME 19 /* where its name begins, behind a byte for the type */

/* open(2), <linux/fcntl.h>, which cannot be included beside a libc's <fcntl.h>: both define struct flock. */
#ifdef __aarch64__
#define CRPIE_O_DIRECTORY 040000
#else
#define CRPIE_O_DIRECTORY 0200000
#endif
#define CRPIE_O_CLOEXEC 02000000

/* Called for a descriptor; anything else than 0 ends the walk. */
typedef int (*crpie_fd_fn)(struct crpie_ctx *ctx, int fd, void *arg);

/* A decimal number, or -1: "." and "..". */
static inline int crpie_fd_number(const char *name)
{
	int fd = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9'; name++)
		fd = fd * 10 + (*name - '0');
	return fd;
}

/* Calls fn for the entries of one getdents64(2) but for the directory itself. */
static inline int crpie_fd_entries(struct crpie_ctx *ctx, const char *buf, long len, int self, crpie_fd_fn fn,
				   void *arg)
{
	long at;
	int fd, ret;

	for (at = 0; at < len;) {
		const struct crpie_dirent *entry = (const struct crpie_dirent *)(const void *)(buf + at);

		at += entry->reclen;
		fd = crpie_fd_number((const char *)entry + CRPIE_DIRENT_NAME);
		ret = fd < 0 || fd == self ? 0 : fn(ctx, fd, arg);
		if (ret != 0)
			return ret;
	}
	return 0;
}

/*
 * Calls fn(ctx, fd, arg) for each open descriptor, ascending. fn may close the one that it is given. Returns 0, what fn
 * returned if that was not 0, or a negative errno of open(2) or getdents64(2).
 */
static inline int crpie_fd_each(struct crpie_ctx *ctx, crpie_fd_fn fn, void *arg)
{
	uint64_t buf[64]; /* aligned for the entries */
	int dir = (int)sys_open("/proc/self/fd", CRPIE_O_DIRECTORY | CRPIE_O_CLOEXEC, 0), ret = 0;
	long len = 0;

	if (dir < 0)
		return dir;
	while (ret == 0 && (len = CRPIE_SYS3(__NR_getdents64, dir, buf, sizeof(buf))) > 0)
		ret = crpie_fd_entries(ctx, (const char *)buf, len, dir, fn, arg);
	sys_close(dir);
	return ret != 0 ? ret : (int)len;
}

/*
 * What a descriptor is: the path of a file, "socket:[INODE]", "pipe:[INODE]", "anon_inode:[eventfd]", proc(5). 0, or
 * -EBADF, or -ENAMETOOLONG if that and its NUL do not fit into size bytes.
 */
static inline int crpie_fd_path(int fd, char *buf, size_t size)
{
	char link[32];
	long len;

	crpie_snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = sys_readlinkat(-100 /* AT_FDCWD */, link, buf, size);
	if (len < 0)
		return len == -ENOENT ? -EBADF : (int)len;
	if ((size_t)len == size)
		return -ENAMETOOLONG;
	buf[len] = '\0';
	return 0;
}

#endif
