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
 *	             | slot 0 | slot 1 | …   |  RW; GRAFT_SLOT each: guard page, stack, signal stack; the watchdog's is last
 *	             | struct graft_task …   |  R
 *	blob_end     +-----------------------+
 *
 * What lies from blob_start on is unmapped before the application runs. The rest stays: a thread cannot unmap the
 * frame that it is returning from. The layouts stand again in graft/layout.go; a test compiles this header and compares.
 */
#ifndef CRPIE_GRAFT_H
#define CRPIE_GRAFT_H

#include <crpie/abi.h>
#include "core.h" /* of the restorer: the hook table */

#define GRAFT_PAGE 4096
#define GRAFT_STACK (124 << 10)   /* bytes for hooks, as in crpie restore */
#define GRAFT_SIGSTACK (16 << 10) /* bytes for struct graft_worker and the handler of crashes */
#define GRAFT_SLOT (GRAFT_PAGE + GRAFT_STACK + GRAFT_SIGSTACK)
#define GRAFT_LEAVE_OFF (GRAFT_PAGE - 64) /* of struct graft_leave in the first frame page */
#define GRAFT_NR_GREGS 19

#define GRAFT_EXIT_STATUS 70 /* of a task that ends itself; EX_SOFTWARE of sysexits.h */

enum {
	GRAFT_ON_ERROR_KILL = 0,
	GRAFT_ON_ERROR_CONTINUE = 1,
};

/* What lines may do to descriptor 2. */
enum {
	GRAFT_STDERR_NONE = 0,
	GRAFT_STDERR_WRITE = 1,
	GRAFT_STDERR_APPEND = 2, /* a file that may have been opened several times without O_APPEND, so with several positions */
};

struct graft_thread {
	uint64_t task; /* struct graft_task */
	int32_t tid;
	uint32_t index; /* 0: the leader */
	uint64_t frame; /* its page among the frames */
	uint64_t slot;  /* its guard page; stack and signal stack follow */
	uint64_t sigmask;
	uint64_t gregs[GRAFT_NR_GREGS]; /* the first words of struct sigcontext, asm/sigcontext.h */
};

struct graft_task {
	uint32_t size, abi;
	int32_t pid;
	uint32_t nr_threads;
	uint64_t threads; /* struct graft_thread[nr_threads] */
	uint64_t table;
	uint64_t comm;
	uint64_t vmas, nr_vmas; /* as in struct crpie_task */
	uint64_t mm;
	int64_t dump_time_ns;
	int64_t timeout_ns; /* for one hook; 0: no watchdog */
	uint32_t on_error;
	uint32_t log_level;
	uint64_t log_path; /* or 0 */
	uint64_t use_stderr; /* GRAFT_STDERR_* */
	uint64_t keep_start, keep_size;
	uint64_t blob_start, blob_size;
	uint64_t watchdog_slot;
	uint64_t renewals, nr_renewals; /* struct graft_renewal[] */
};

enum {
	GRAFT_RENEW_STATES = 1, /* of the vDSO's getrandom: fresh droppable memory */
	GRAFT_RENEW_WIPE = 2,   /* MADV_WIPEONFORK: zeros */
};

/* Memory that comes back fresh. */
struct graft_renewal {
	uint64_t start, size;
	uint64_t kind; /* GRAFT_RENEW_* */
};

/* What graft_leave needs, in memory that stays. */
struct graft_leave {
	uint32_t inside; /* threads that have not left the blob */
	uint32_t gone;   /* futex: the blob is unmapped */
	uint64_t blob_start, blob_size;
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
	return (struct graft_worker *)(thread->slot + GRAFT_PAGE + GRAFT_STACK);
}

/* entry_amd64.S */
long graft_call(uint64_t fn, uint64_t arg0, uint64_t arg1, uint64_t arg2, uint64_t *resume);
extern const char graft_call_end[];
void graft_restorer(void);
long graft_clone(uint64_t flags, uint64_t stack, int *ptid, int *ctid, void (*fn)(void *), void *arg);

/* frame.c */
void graft_save_state(const struct graft_thread *thread);

/* guard.c */
int64_t graft_guard_task(struct graft_worker *w);
void graft_guard_thread(struct graft_worker *w);
void graft_unguard_thread(void);
void graft_unguard_task(struct graft_worker *w);
void graft_wait_at_least(uint32_t *word, uint32_t value);
void graft_raise(uint32_t *word, uint32_t value);
int64_t graft_clock(int clock);

/* renew.c */
void graft_renew(const struct graft_worker *w);

/* hooks.c */
extern uint32_t graft_failed; /* on_error is continue, and a call went wrong: no plugin is called any more */
void graft_run_inits(struct graft_worker *w);
void graft_run_hooks(struct graft_worker *w, uint32_t hook);

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
