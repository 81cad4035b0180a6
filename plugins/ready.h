/* SPDX-License-Identifier: Apache-2.0 */
/* What ready plugins share: a hook that finds nothing to do fails, unless missing=ok was given. */
#ifndef READY_H
#define READY_H

#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

#define READY_MISSING                                                                                                  \
	CRPIE_PARAM_ENUM("missing", CRPIE_OPTIONAL, "ok", "a task without it is left alone; else an error")

/* For a task in which nothing was found; what it lacks was logged by pr_lack. */
static inline int ready_missing(const struct crpie_ctx *ctx)
{
	return crpie_param(ctx, "missing") != NULL ? -ENOTSUP : -ENOENT;
}

/* An error, or with missing=ok a line of information. */
#define pr_lack(ctx, ...)                                                                                              \
	do {                                                                                                           \
		if (crpie_param(ctx, "missing") != NULL)                                                               \
			pr_info(ctx, __VA_ARGS__);                                                                     \
		else                                                                                                   \
			pr_err(ctx, __VA_ARGS__);                                                                      \
	} while (0)

/*
 * work(ctx) with the restorer's privileges, or where no hook runs with them, in a graft, last. ready_done is the pid of
 * the task in which it ran: a child begins as a copy of its parent.
 */
#define READY_WITH_PRIVILEGES(work)                                                                                    \
	static int ready_done;                                                                                         \
	static int with_privileges(struct crpie_ctx *ctx)                                                              \
	{                                                                                                              \
		ready_done = ctx->pid;                                                                                 \
		return work(ctx);                                                                                      \
	}                                                                                                              \
	static int in_a_graft(struct crpie_ctx *ctx)                                                                   \
	{                                                                                                              \
		return ready_done == ctx->pid ? -ENOTSUP : work(ctx);                                                  \
	}                                                                                                              \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, with_privileges)                                   \
	CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, in_a_graft)

#endif
