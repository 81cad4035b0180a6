/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between crpie graft (Go, graft/) and the code that it puts into a process image.
 *
 * Every thread of a grafted task starts in graft_entry, with all signals blocked, on a stack of its own, with
 * rdi = its struct graft_thread. One stretch of the task's address space is ours:
 *
 *	keep_start   +-----------------------+
 *	             | leave                 |  RX; one page: graft_leave, all that runs after the blob is gone
 *	frames       +-----------------------+
 *	             | frame 0 | frame 1 | … |  RW; one page per thread; struct graft_leave ends the first one
 *	blob_start   +-----------------------+
 *	             | blob image            |  RX, R, RW: this core, the plugins, the hook table
 *	             | slot 0 | slot 1 | …   |  RW; GRAFT_SLOT each: guard, stack, signal stack; the last: the watchdog
 *	             | registers, timers     |  RW; what hooks may change
 *	             | struct graft_task …   |  R
 *	blob_end     +-----------------------+
 *
 * What lies from blob_start on is unmapped before the application runs. The rest stays: a thread cannot unmap the frame
 * that it is returning from. The layouts are in graft_contract.h, which is generated from the table that Go is
 * generated from, too: internal/contract.
 */
#ifndef CRPIE_GRAFT_H
#define CRPIE_GRAFT_H

#include <crpie/abi.h>
#include "contract.h" /* of the restorer: the hook table */
#include "graft_contract.h"

struct graft_cause {
	int64_t kind, number; /* GRAFT_WHY_* */
	uint64_t address, ip;
};

/* The state of one thread while hooks run; at the lowest address of its signal stack. */
struct graft_worker {
	const struct graft_task *task;
	const struct graft_thread *thread;
	uint32_t hook;   /* stage whose hook is running, or CRPIE_HOOK_INIT, CRPIE_HOOK_EXIT; 0: none */
	uint32_t plugin; /* index into the table's plugins */
	uint64_t fn;
	uint64_t resume;    /* stack pointer inside graft_call */
	int64_t began;      /* CLOCK_MONOTONIC, ns; of the call that is running */
	uint32_t seq;       /* grows with every call */
	uint32_t timed_out; /* the watchdog gave up on call seq */
	uint32_t aborted;   /* the handler left the hook */
};

static inline struct graft_worker *graft_worker_of(const struct graft_thread *thread)
{
	return (struct graft_worker *)(thread->slot + GRAFT_GUARD + GRAFT_STACK);
}

/* entry_amd64.S */
long graft_call(uint64_t fn, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t *resume);
extern const char graft_call_end[];
void graft_restorer(void);
long graft_clone(uint64_t flags, uint64_t stack, int *ptid, int *ctid, void (*fn)(void *), void *arg);

/* frame.c */
void graft_save_state(const struct graft_thread *thread);
void graft_set_regs(const struct graft_thread *thread, const struct crpie_regs *regs);

/* guard.c */
int64_t graft_guard_task(struct graft_worker *w);
void graft_guard_thread(struct graft_worker *w);
void graft_unguard_thread(void);
void graft_unguard_task(struct graft_worker *w);
void graft_wait_at_least(uint32_t *word, uint32_t value);
void graft_raise(uint32_t *word, uint32_t value);
int64_t graft_clock(int clock);

/* status.c */
extern struct graft_status graft_status;
void graft_begin_status(const struct graft_task *task);
void graft_finish_status(const struct graft_task *task);
void graft_say(const struct graft_worker *w, uint32_t level, const char *msg, uint64_t len);
_Noreturn void graft_give_up(const struct graft_worker *w, const struct graft_cause *cause);

/* renew.c */
void graft_renew(const struct graft_worker *w);

/* calls.c */
extern uint32_t graft_failed; /* on_error is continue, and a call went wrong: no plugin is called any more */

/* log.c */
struct graft_line {
	char text[1536];
	uint64_t len;
};
void graft_put(struct graft_line *line, const char *text);
void graft_put_int(struct graft_line *line, int64_t value);
void graft_put_hex(struct graft_line *line, uint64_t value);
void graft_begin_line(struct graft_line *line, const struct graft_worker *w);
void graft_end_line(struct graft_line *line, const struct graft_task *task);
void graft_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len);

#endif
