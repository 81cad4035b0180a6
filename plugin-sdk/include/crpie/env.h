/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment block of the restored program: the strings that execve(2) left on its stack, from env_start to
 * env_end of prctl(PR_SET_MM_MAP), each NAME=VALUE and a NUL.
 *
 * getenv(3) sees a change made here, because libc's environ points at these strings. Two limits follow from that: a
 * value cannot grow, and a variable that the program itself set with setenv(3) lives in its heap instead, and is not
 * found. <crpie/setenv.h> has neither.
 */
#ifndef CRPIE_ENV_H
#define CRPIE_ENV_H

#include <stddef.h>
#include <stdint.h>
#include <linux/errno.h>

#include <crpie/abi.h>
#include <crpie/string.h>
#include <crpie/vma.h>

/* One string of the block: NAME=VALUE, terminated. */
struct crpie_env {
	char *text;
	size_t len;  /* without the NUL */
	char *value; /* behind the '=' */
	size_t value_len;
};

/*
 * Steps to the next string; begin with an entry of zeros. Returns 1, 0 at the end, or -EFAULT if the block is not
 * readable memory. Strings without '=' and an unterminated last one are skipped.
 */
static inline int crpie_env_next(const struct crpie_ctx *ctx, struct crpie_env *env)
{
	uint64_t start = ctx->mm->env_start, end = ctx->mm->env_end;

	if (end < start || !crpie_vma_covers(ctx, start, end - start, CRPIE_PROT_READ))
		return -EFAULT;
	if (env->text != NULL)
		start = (uint64_t)(uintptr_t)env->text + env->len + 1;
	while (start < end) {
		char *text = (char *)(uintptr_t)start;
		size_t len = crpie_strnlen(text, end - start);
		char *equals = (char *)crpie_memchr(text, '=', len);

		if (len == end - start)
			return 0;
		if (equals != NULL) {
			env->text = text;
			env->len = len;
			env->value = equals + 1;
			env->value_len = len - (size_t)(equals + 1 - text);
			return 1;
		}
		start += len + 1;
	}
	return 0;
}

/* Finds the first variable of that name: 0, -ENOENT or -EFAULT. */
static inline int crpie_env_find(const struct crpie_ctx *ctx, const char *name, struct crpie_env *env)
{
	struct crpie_env e = { NULL, 0, NULL, 0 };
	size_t len = crpie_strlen(name);
	int ret;

	while ((ret = crpie_env_next(ctx, &e)) == 1) {
		if ((size_t)(e.value - e.text) == len + 1 && crpie_memcmp(e.text, name, len) == 0) {
			*env = e;
			return 0;
		}
	}
	return ret == 0 ? -ENOENT : ret;
}

/*
 * Replaces a variable's value in place. A shorter value leaves NULs behind it. Returns 0, -ENOENT (no such variable),
 * -ENAMETOOLONG (longer than the old value; nothing was changed) or -EFAULT (not writable memory).
 */
static inline int crpie_env_replace(const struct crpie_ctx *ctx, const char *name, const char *value)
{
	struct crpie_env env;
	size_t len = crpie_strlen(value);
	int err = crpie_env_find(ctx, name, &env);

	if (err != 0)
		return err;
	if (len > env.value_len)
		return -ENAMETOOLONG;
	if (!crpie_vma_covers(ctx, (uint64_t)(uintptr_t)env.value, env.value_len, CRPIE_PROT_WRITE))
		return -EFAULT;
	crpie_memcpy(env.value, value, len);
	crpie_memset(env.value + len, 0, env.value_len - len);
	return 0;
}

#endif
