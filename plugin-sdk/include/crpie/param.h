/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of --pie-plugin hook.o,key=value,…
 *
 * Every reader returns 0 and stores the value, or one of the errors below and stores nothing, so that a default set
 * before the call survives a parameter that is absent:
 *
 *	uint64_t size = 4;
 *	int err = crpie_param_u64(ctx, "size", 1, 8, &size);
 *	if (err != 0 && err != CRPIE_PARAM_NOTFOUND)
 *		return err;
 *
 * If a key is given twice, the last one counts. The macros CRPIE_PARAM_* of <crpie/plugin.h> declare parameters; crpie,
 * from version 2 of the interface on, then lets only values of their kind arrive here.
 */
#ifndef CRPIE_PARAM_H
#define CRPIE_PARAM_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/log.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

#define CRPIE_PARAM_NOTFOUND (-ENOENT)      /* the key was not given */
#define CRPIE_PARAM_TOOLONG (-ENAMETOOLONG) /* the value does not fit into the buffer */
#define CRPIE_PARAM_INVALID (-EINVAL)       /* the value is not of that type */
#define CRPIE_PARAM_RANGE (-ERANGE)         /* a number outside the interval */
#define CRPIE_PARAM_NODATA (-ENODATA)       /* the file of key=@task:FILE does not exist, or is empty */
#define CRPIE_PARAM_NOTFILE (-ESPIPE)       /* it is not a regular file: a FIFO, a device, a directory */

/* The value of key, or NULL. */
static inline const char *crpie_param(const struct crpie_ctx *ctx, const char *key)
{
	uint64_t i = ctx->nr_params;

	while (i-- != 0)
		if (crpie_strcmp(ctx->params[i].key, key) == 0)
			return ctx->params[i].value;
	return NULL;
}

/* Copies the value of key with its NUL into buf of size bytes. */
static inline int crpie_param_string(const struct crpie_ctx *ctx, const char *key, char *buf, size_t size)
{
	const char *value = crpie_param(ctx, key);

	if (value == NULL)
		return CRPIE_PARAM_NOTFOUND;
	if (crpie_strlen(value) >= size)
		return CRPIE_PARAM_TOOLONG;
	crpie_strlcpy(buf, value, size);
	return 0;
}

/* Where the kernel's struct stat has st_mode: <asm/stat.h> cannot be included beside a libc's <sys/stat.h>. */
#ifdef __aarch64__
#define CRPIE_STAT_MODE 16
#else
#define CRPIE_STAT_MODE 24
#endif
#define CRPIE_STAT_SIZE 144 /* of the larger one, x86-64's */

/* 0 for a regular file; the arguments are those of fstatat(2). */
static inline int crpie_param_is_file(int dirfd, const char *path, int flags)
{
	uint32_t st[CRPIE_STAT_SIZE / 4];
	long err = sys_newfstatat(dirfd, path, (struct stat *)(void *)st, flags);

	if (err != 0)
		return (int)err;
	return (st[CRPIE_STAT_MODE / 4] & 0170000 /* S_IFMT */) == 0100000 /* S_IFREG */ ? 0 : CRPIE_PARAM_NOTFILE;
}

/* Opens a regular file. It asks before, since to open a device can have effects, and again what it has opened. */
static inline int crpie_param_open(const char *path)
{
	int fd, err = crpie_param_is_file(-100 /* AT_FDCWD */, path, 0);

	if (err != 0)
		return err;
	fd = (int)sys_open(path, 02004400 /* O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY */, 0);
	if (fd < 0)
		return fd;
	err = crpie_param_is_file(fd, "", 0x1000 /* AT_EMPTY_PATH */);
	if (err != 0)
		sys_close(fd);
	return err != 0 ? err : fd;
}

/* Reads the text of a regular file, without a newline at its end, into buf of size bytes. */
static inline int crpie_param_file(const char *path, char *buf, size_t size)
{
	long fd = crpie_param_open(path), n = 1;
	size_t have = 0;
	char more;

	if (fd < 0)
		return (int)fd;
	while (n > 0 && have < size) {
		n = sys_read((int)fd, buf + have, size - have);
		have += n > 0 ? (size_t)n : 0;
	}
	if (have == size)
		n = sys_read((int)fd, &more, 1);
	sys_close((int)fd);
	if (n < 0)
		return (int)n;
	if (have > 0 && buf[have - 1] == '\n' && n == 0)
		have--;
	if (have == 0)
		return CRPIE_PARAM_NODATA;
	if (have == size)
		return CRPIE_PARAM_TOOLONG;
	buf[have] = '\0';
	return crpie_strlen(buf) == have ? 0 : CRPIE_PARAM_INVALID;
}

/*
 * crpie_param_string for a parameter that is declared with CRPIE_IN_TASK: key=@task:FILE is the contents of FILE, as
 * the task sees files when the hook runs, without a newline at their end. So clones of one image differ. A file that
 * does not exist or is empty is CRPIE_PARAM_NODATA, one of another kind CRPIE_PARAM_NOTFILE, and is not opened; errors
 * of open(2) and read(2) come as they are. Why a file cannot be read is logged.
 */
static inline int crpie_param_read(const struct crpie_ctx *ctx, const char *key, char *buf, size_t size)
{
	char named[CRPIE_PARAM_NAME_MAX + 1];
	const char *path;
	int err;

	crpie_snprintf(named, sizeof(named), "%s@", key);
	path = crpie_param(ctx, named);
	if (path == NULL)
		return crpie_param_string(ctx, key, buf, size);
	err = crpie_param_file(path, buf, size);
	if (err == CRPIE_PARAM_NODATA)
		pr_err(ctx, "cannot read %s from %s: it is empty", key, path);
	else if (err == CRPIE_PARAM_NOTFILE)
		pr_err(ctx, "cannot read %s from %s: it is not a regular file", key, path);
	else if (err != 0)
		pr_perror(ctx, err, "cannot read %s from %s", key, path);
	return err == CRPIE_PARAM_NOTFOUND ? CRPIE_PARAM_NODATA : err; /* it was given */
}

static inline unsigned int crpie_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return 99;
}

/* Parses decimal or 0x digits at *s and leaves *s behind them. */
static inline int crpie_parse_u64(const char **s, uint64_t *out)
{
	const char *p = *s;
	unsigned int base = 10;
	uint64_t v = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (crpie_digit(*p) >= base)
		return CRPIE_PARAM_INVALID;
	for (; crpie_digit(*p) < base; p++) {
		unsigned int d = crpie_digit(*p);
		if (v > (UINT64_MAX - d) / base)
			return CRPIE_PARAM_RANGE;
		v = v * base + d;
	}
	*s = p;
	*out = v;
	return 0;
}

static inline int crpie_param_in_range(uint64_t v, uint64_t min, uint64_t max, uint64_t *out)
{
	if (v < min || v > max)
		return CRPIE_PARAM_RANGE;
	*out = v;
	return 0;
}

/* A number in [min, max], decimal or with 0x. */
static inline int crpie_param_u64(const struct crpie_ctx *ctx, const char *key, uint64_t min, uint64_t max,
				  uint64_t *out)
{
	const char *value = crpie_param(ctx, key);
	uint64_t v = 0;
	int err;

	if (value == NULL)
		return CRPIE_PARAM_NOTFOUND;
	err = crpie_parse_u64(&value, &v);
	if (err != 0)
		return err;
	if (*value != '\0')
		return CRPIE_PARAM_INVALID;
	return crpie_param_in_range(v, min, max, out);
}

/* A number of bytes in [min, max]: digits and perhaps K, M, G or T (powers of 1024). */
static inline int crpie_param_size(const struct crpie_ctx *ctx, const char *key, uint64_t min, uint64_t max,
				   uint64_t *out)
{
	const char *value = crpie_param(ctx, key);
	unsigned int shift = 0;
	uint64_t v = 0;
	int err;

	if (value == NULL)
		return CRPIE_PARAM_NOTFOUND;
	err = crpie_parse_u64(&value, &v);
	if (err != 0)
		return err;
	if (*value != '\0') {
		const char *units = "KMGT", *unit = crpie_strchr(units, *value & ~0x20);
		if (unit == NULL || *unit == '\0' || value[1] != '\0')
			return CRPIE_PARAM_INVALID;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (v > UINT64_MAX >> shift)
		return CRPIE_PARAM_RANGE;
	return crpie_param_in_range(v << shift, min, max, out);
}

/* 1 yes true on, 0 no false off; an empty value is yes. */
static inline int crpie_param_bool(const struct crpie_ctx *ctx, const char *key, int *out)
{
	static const char words[][8] = { "0", "no", "false", "off", "1", "yes", "true", "on", "" };
	const char *value = crpie_param(ctx, key);
	size_t i;

	if (value == NULL)
		return CRPIE_PARAM_NOTFOUND;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (crpie_strcmp(value, words[i]) == 0) {
			*out = i >= 4;
			return 0;
		}
	}
	return CRPIE_PARAM_INVALID;
}

/*
 * The first key that was given but is not among known, or NULL: a mistyped key should fail, not be ignored. known is a
 * list separated by blanks: crpie_param_unknown(ctx, "var value format"). The "@" of key=@task:FILE does not count.
 */
static inline const char *crpie_param_unknown(const struct crpie_ctx *ctx, const char *known)
{
	uint64_t i;

	for (i = 0; i < ctx->nr_params; i++) {
		const char *key = ctx->params[i].key, *word = known;
		size_t len = crpie_strlen(key);

		if (len > 0 && key[len - 1] == '@')
			len--;
		while (*word != '\0') {
			const char *end = crpie_strchr(word, ' ');
			size_t n = end != NULL ? (size_t)(end - word) : crpie_strlen(word);
			if (n == len && crpie_memcmp(word, key, n) == 0)
				break;
			word += n + (end != NULL);
		}
		if (*word == '\0')
			return key;
	}
	return NULL;
}

#endif
