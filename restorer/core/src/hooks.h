/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks, in both cores: hooks.c walks the hook table and makes the context. The core that it is compiled into (calls.c)
 * says who calls, and does what has to be done around a call.
 */
#ifndef CRPIE_HOOKS_H
#define CRPIE_HOOKS_H

#include <crpie/abi.h>
#include "contract.h"

/* The thread that calls: a struct core, or a struct graft_worker. */
struct caller;

/* hooks.c: 0, or what the call gave after which no other is to be made */
int hooks_run_inits(struct caller *caller);
int hooks_run(struct caller *caller, uint32_t hook);

/* checks.c: 0, or -EINVAL for what a hook must not change, which it logs */
int check_regs(const struct crpie_ctx *ctx, const struct crpie_regs *before);
int check_timers(const struct crpie_ctx *ctx, const struct crpie_timer *before);

/* settime.c: setitimer(2) or timer_settime(2) */
long set_timer(const struct crpie_timer *timer);

/* calls.c of either core */
const struct crpie_table *caller_table(const struct caller *caller);
int caller_selects(const struct caller *caller, uint32_t plugin); /* --pie-plugin hook.o,select=... */
int caller_stopped(void);                                         /* a call of another thread has gone wrong */
void caller_describe(struct caller *caller, struct crpie_ctx *ctx);
struct crpie_regs *caller_regs(struct caller *caller);
const struct crpie_timer *caller_timers(const struct caller *caller); /* as they were before the call */
int caller_keep(struct caller *caller, const struct crpie_ctx *ctx);  /* takes what a call has changed: 0, or errno */
void caller_begin(struct caller *caller, uint32_t hook, uint32_t plugin, uint64_t fn);
int caller_enter(struct caller *caller, uint64_t fn, uint64_t arg0, uint64_t arg1, uint64_t arg2);
int caller_end(struct caller *caller, int result); /* the result, or another */

#endif
