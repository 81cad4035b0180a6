/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between the restorer (Go, restorer/) and the core: the freestanding code that runs inside the processes
 * being restored.
 *
 * One region of the address space, the same in every task, free in all of them, and gone before the application runs:
 *
 *	region_start  +----------------------+
 *	              | blob image           |  RX, R, RW segments; private, of the sealed memfd
 *	shared        +----------------------+
 *	              | struct crpie_shared  |  RW: progress, failures, marks, log ring; shared with the controller and
 *	              |                      |  the other tasks, until CRPIE_OP_UNSHARE_STATUS makes it the task's own
 *	control       +----------------------+
 *	              | struct crpie_control |  R: what the controller tells; shared, of the sealed memfd
 *	bell          +----------------------+
 *	              | struct crpie_bell    |  RW: wakes the controller, names who calls plugins; shared, a memfd
 *	stacks        +----------------------+
 *	              | guard | stack 0 | …  |  one per thread of the largest task and page reader; private, anonymous
 *	lent          +----------------------+
 *	              | registers, timers    |  what late hooks may change, of the task; private, anonymous
 *	plan          +----------------------+
 *	              | struct crpie_plan …  |  R; private, of the sealed memfd
 *	region_end    +----------------------+
 *
 * The first page has core_syscall_insn, with which the controller unmaps everything else and at last that page.
 *
 * Who may write, and what is trusted: only the controller can write the sealed memfd, and of it only the
 * control part (F_SEAL_FUTURE_WRITE, fcntl(2)); what a task does to its private mappings, ptrace(2) and mprotect(2)
 * included, stays its own. The shared part steers other tasks (marks) and is therefore left before privileges change;
 * afterwards the controller reads each task's own by process_vm_readv(2). The bell stays shared and decides nothing.
 * The controller trusts none of it: indices and lengths are checked, and time is limited.
 *
 * The layouts, the operations and other numbers are in contract.h, which is generated from the table that Go is
 * generated from, too: internal/contract.
 */
#ifndef CRPIE_CORE_H
#define CRPIE_CORE_H

#include <crpie/abi.h>
#include "contract.h"

/* The thread at work: what every function of the core is handed. */
struct core {
	const struct crpie_plan *plan;
	const struct crpie_task *task; /* 0 in the zygote */
	const struct crpie_thread *thread;
	struct crpie_shared *shared;
	struct crpie_bell *bell;
	struct crpie_status *status;
	uint32_t *barriers; /* this task's, shared by its threads */
};

/* entry_amd64.S */
long core_syscall(long nr, const uint64_t *arg);
long core_clone_onto(const void *args, uint64_t size, void (*fn)(void *), void *arg);
extern const char core_syscall_insn[];

/* program.c */
void core_run_program(struct core *core);
int64_t core_move_fd(int64_t fd, int64_t to, int cloexec);
_Noreturn void core_fail(struct core *core, int64_t result);
_Noreturn void core_run_task(const struct core *parent, const struct crpie_task *task);

/* memory.c */
int64_t core_read_pages(struct core *core, const struct crpie_op *op);
int64_t core_update_pages(struct core *core, const struct crpie_op *op);

/* timers.c */
int64_t core_create_timer(const struct crpie_op *op);
int64_t core_expire_timer(const struct crpie_op *op);
int64_t core_start_timer(const struct core *core, const struct crpie_op *op);

/* ttys.c */
int64_t core_open_pty(const struct crpie_op *op);
int64_t core_insert_input(const struct crpie_op *op);

/* aio.c */
int64_t core_setup_aio(const struct crpie_op *op);

/* pidfds.c */
int64_t core_open_exited_pidfds(const struct crpie_op *op);
int64_t core_open_exited_proc(const struct crpie_op *op);

/* notify.c */
int64_t core_drain_events(const struct crpie_op *op);

/* calls.c */
int64_t core_run_hooks(struct core *core, uint32_t hook);

/* log.c */
void core_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len);

/* tasks.c */
int64_t core_clone_task(struct core *core, const struct crpie_op *op);
int64_t core_clone_thread(struct core *core, const struct crpie_op *op);
int core_wait_for_id(int64_t result, int *tries);

/* sync.c */
void core_news(struct core *core);
int64_t core_notify(struct core *core, const struct crpie_op *op);
int64_t core_wait_traced(struct core *core);
int64_t core_wait_gate(struct core *core, const struct crpie_op *op);
int64_t core_arrive_barrier(struct core *core, const struct crpie_op *op);
int64_t core_wait_barrier(struct core *core, const struct crpie_op *op);
int64_t core_set_mark(struct core *core, const struct crpie_op *op);
int64_t core_wait_mark(struct core *core, const struct crpie_op *op);
int64_t core_unshare_status(struct core *core);
_Noreturn void core_park(struct core *core);

#endif
