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
 *	              |                      |  the other tasks, until CRPIE_OP_LEAVE makes it the task's own
 *	control       +----------------------+
 *	              | struct crpie_control |  R: what the controller tells; shared, of the sealed memfd
 *	bell          +----------------------+
 *	              | struct crpie_bell    |  RW: wakes the controller, names who calls plugins; shared, a memfd
 *	stacks        +----------------------+
 *	              | guard | stack 0 | …  |  one per thread of the largest task, one per page reader; private, anonymous
 *	plan          +----------------------+
 *	              | struct crpie_plan …  |  R; private, of the sealed memfd
 *	region_end    +----------------------+
 *
 * The first page has core_syscall_insn, with which the controller unmaps everything else and at last that page.
 *
 * Who may write, who believes it: the sealed memfd can be written by nobody but the controller, and by it only the
 * control part (F_SEAL_FUTURE_WRITE, fcntl(2)); what a task does to its private mappings, ptrace(2) and mprotect(2)
 * included, stays its own. The shared part steers other tasks (marks) and is therefore left before privileges change;
 * afterwards the controller reads each task's own by process_vm_readv(2). The bell stays shared and steers nobody.
 * The controller believes none of it: indices and lengths are checked, and time is limited.
 *
 * The layouts stand again in internal/abi/core.go; a test compiles this header and compares.
 */
#ifndef CRPIE_CORE_H
#define CRPIE_CORE_H

#include <crpie/abi.h>

#define CRPIE_MAX_PLUGINS 1024 /* in one blob */

/* What the blob's hook table looks like: internal/abi/table.go writes it. */
struct crpie_table {
	uint32_t size, abi;
	uint64_t plugins, nr_plugins;
	uint64_t hooks, nr_hooks;
	uint64_t reserved;
};

struct crpie_table_plugin {
	uint64_t name;
	uint64_t params, nr_params;
	uint64_t init, exit;
};

struct crpie_table_hook {
	uint32_t hook;
	int32_t priority;
	uint32_t plugin, reserved;
	uint64_t fn;
};

/* Operations of a restore program. arg[] below are struct crpie_op.arg. */
enum {
	CRPIE_OP_SYSCALL = 0, /* system call nr with arg[0..5] */
	CRPIE_OP_PIPE = 1,    /* pipe2(arg[0]); ends become descriptors arg[1] (read) and arg[2] (write) */
	CRPIE_OP_READ = 2,    /* fill memory: struct crpie_run[arg[1]] at arg[0]; arg[2] extra reader processes */
	CRPIE_OP_CLONE = 3,   /* create task arg[0] with clone flags arg[1] */
	CRPIE_OP_THREAD = 4,  /* create thread arg[0] of this task */
	CRPIE_OP_HOOK = 5,    /* run the hooks of stage arg[0] */
	CRPIE_OP_GATE = 6,    /* wait until the controller has opened gate arg[0] */
	CRPIE_OP_ARRIVE = 7,  /* count this thread at barrier arg[0] */
	CRPIE_OP_AWAIT = 8,   /* wait until arg[1] have arrived at barrier arg[0] */
	CRPIE_OP_REPORT = 9,  /* ring the controller's bell, having counted this task as ready if arg[0] */
	CRPIE_OP_TIMER = 10,  /* timer_create(arg[0] clock, arg[1] struct sigevent), id must become arg[2] */
	CRPIE_OP_PARK = 11,   /* the program is done; wait for the controller */
	CRPIE_OP_EXIT = 12,   /* exit_group(arg[0]) */
	CRPIE_OP_TRACED = 13, /* wait until the controller traces this thread */
	CRPIE_OP_UPDATE = 14, /* as OP_READ, but leave alone what is equal already: copy-on-write memory of the parent's */
	/*
	 * open a file that has no name: make it (arg[1] 0: of type and mode arg[3]) or link it from path arg[1], as path
	 * arg[0], which must be free; open that with flags arg[2], remove the path, and make the descriptor arg[4]
	 */
	CRPIE_OP_NAMELESS = 15,
	CRPIE_OP_SOCKETPAIR = 16, /* socketpair(AF_UNIX, arg[0]); ends become descriptors arg[1] and arg[2] */
	CRPIE_OP_PTY = 17,    /* open arg[0], a ptmx, with flags arg[1]; the terminal's number must be arg[2], the descriptor arg[3] */
	CRPIE_OP_TYPE = 18,   /* put arg[2] bytes at arg[1] into what is read from terminal arg[0] */
	CRPIE_OP_LEAVE = 19,  /* leave the shared memory: what this task reports is memory of its own from here on */
	CRPIE_OP_MARK = 20,   /* this thread has reached mark arg[0]; marks only grow */
	CRPIE_OP_FOLLOW = 21, /* wait until the thread with status arg[0] has reached mark arg[1] */
	/* io_setup(arg[2]); its ring replaces the dumped one at arg[0], arg[1] bytes; arg[3] is open on /dev/null */
	CRPIE_OP_AIO = 22,
	CRPIE_OP_COPY = 23,   /* arg[2] bytes from arg[1] to arg[0] */
	CRPIE_OP_BECOME = 30, /* go on with the program of task arg[0] */
	CRPIE_OP_PARENT = 31, /* PR_SET_PDEATHSIG, prctl(2); end if the parent, process arg[0], has ended before */
	CRPIE_OP_FORGET = 40, /* read what there is to be read from arg[0], inotify or, if arg[1], fanotify */
	CRPIE_OP_GONE = 41,   /* pidfds of a process that is gone: arg[0] pairs of u32 at arg[1], descriptor and flags */
	/*
	 * while there is a process arg[0], open arg[1] files, triples at arg[2]: path, flags, descriptor; then, unless
	 * arg[3] is 0, change to that directory
	 */
	CRPIE_OP_ENDED = 42,
	CRPIE_OP_EXPIRE = 50, /* let posix timer arg[0] of clock arg[2] expire and go on as the struct itimerspec at arg[1] says */
	CRPIE_OP_MAX,
};

enum {
	CRPIE_OPF_MAY_FAIL = 1 << 0, /* an error is no failure */
	CRPIE_OPF_WANT = 1 << 1,     /* the result must be op.want */
	CRPIE_OPF_FD = 1 << 2,       /* the result is a descriptor: move it to number op.want */
	CRPIE_OPF_CLOEXEC = 1 << 3,  /* with OPF_FD: set FD_CLOEXEC */
	CRPIE_OPF_INJECT = 1 << 4,   /* fault injection: fail with EIO instead of being carried out */
};

struct crpie_op {
	uint32_t code;  /* CRPIE_OP_* */
	uint32_t flags; /* CRPIE_OPF_* */
	uint64_t nr;    /* system call number */
	uint64_t arg[6];
	int64_t want;
};

/* len bytes at offset off of descriptor fd belong at addr; all three are multiples of the page size. */
struct crpie_run {
	uint64_t addr, len, off;
	int64_t fd;
};

struct crpie_thread {
	int32_t tid;
	uint32_t status; /* index into crpie_shared.status */
	uint64_t ops, nr_ops;
	uint64_t stack, stack_size; /* lowest byte, bytes */
};

struct crpie_task {
	int32_t pid;
	uint32_t nr_threads;
	uint64_t threads; /* struct crpie_thread[nr_threads]; 0 is the leader */
	uint64_t comm;
	uint64_t vmas, nr_vmas; /* struct crpie_vma[nr_vmas], and behind it uint64_t[nr_vmas]: crpie_ctx.vma_madv */
	uint64_t mm;
	uint64_t reader_stack, reader_stack_size; /* of the first page reader; CRPIE_STACK_SLOT apart */
	uint64_t runs; /* uint8_t[] by plugin: 1 if it runs in this task */
};

struct crpie_plan {
	uint32_t size, abi;
	uint64_t table;
	uint64_t shared, shared_size, control, bell;
	uint64_t log_off, log_size; /* of the ring: from shared, bytes; the size is a power of two */
	uint64_t region_start, region_end;
	uint64_t tasks, nr_tasks;
	struct crpie_thread zygote; /* its tid is 0, or with --restore-sibling the root task's, which it becomes */
	int64_t dump_time_ns, restore_time_ns;
	uint32_t log_level;
	uint32_t nr_parking; /* threads that are going to park */
};

enum {
	CRPIE_STATE_NEW = 0,
	CRPIE_STATE_RUNNING = 1,
	CRPIE_STATE_FAILED = 2, /* op, result, and while a hook ran: hook, plugin, fn */
	CRPIE_STATE_PARKED = 3,
	CRPIE_STATE_LEFT = 4, /* in shared memory, of a task's leader: the task has statuses of its own */
};

/* Written by one thread, read by the controller; mark also by other tasks. */
struct crpie_status {
	uint32_t state;
	uint32_t op;     /* index of the operation at work */
	int64_t result;  /* of the operation that failed: negative errno, or the unexpected value */
	uint32_t hook;   /* stage whose hook is running, or CRPIE_HOOK_INIT, CRPIE_HOOK_EXIT; 0: none */
	uint32_t plugin; /* index into the table's plugins */
	uint64_t fn;
	uint32_t hook_seq; /* grows with every call into a plugin */
	uint32_t mark;   /* futex: CRPIE_OP_MARK */
	uint64_t detail; /* for CRPIE_OP_READ and CRPIE_OP_UPDATE the address at work */
};

#define CRPIE_NR_BARRIERS 64
/*
 * Bytes without access below each stack: as many as Linux keeps below a stack that grows (stack_guard_gap,
 * kernel-parameters.rst). The code of plugins need not probe its stack, and touches a frame anywhere first: a guard smaller
 * than the stack would let frames that fit into the one step over the other, into the next thread's stack.
 */
#define CRPIE_STACK_GUARD (1 << 20)
#define CRPIE_STACK_SLOT (CRPIE_STACK_GUARD + (124 << 10)) /* distance of two stacks, bytes */

struct crpie_shared {
	uint64_t log_head;  /* bytes ever reserved by writers */
	uint64_t log_tail;  /* bytes ever consumed by the controller, which has a count of its own */
	struct crpie_status status[];
};

struct crpie_control {
	uint32_t gate;     /* futex: the highest gate that is open */
	int32_t controller; /* its pid: who waits for it in vain ends */
	uint32_t traced[]; /* futexes: 1 when the thread with that status is traced */
};

/* The last call of a thread into a plugin, hook 0: none. It stays when a hook has removed the task's own status. */
struct crpie_call {
	uint32_t hook, plugin;
	uint64_t fn;
};

/* Every task may write it at any time, so it only hints: what is wrong here costs the controller time, nothing else. */
struct crpie_bell {
	uint32_t rung;   /* futex: every report adds 1 */
	uint32_t news;   /* reports that statuses tell more about */
	uint32_t ready;  /* tasks that reported; counts while no task has given up the restorer's privileges */
	uint32_t parked; /* threads that parked */
	struct crpie_call call[]; /* by status */
};

/* One log line in the ring, followed by text; records are padded to 8 bytes. */
struct crpie_log_record {
	uint32_t len;   /* of the record with header and padding; written last, 0: not there yet */
	uint32_t level;
	int32_t pid, tid;
	uint32_t hook, plugin;
	uint32_t text_len;
	uint32_t pad;
};

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
int64_t core_fill(struct core *core, const struct crpie_run *runs, uint64_t nr, uint64_t readers);

int64_t core_update(struct core *core, const struct crpie_run *runs, uint64_t nr);

/* timers.c */
int64_t core_make_timer(const struct crpie_op *op);
int64_t core_expire(const struct crpie_op *op);

/* ttys.c */
int64_t core_open_pty(const struct crpie_op *op);
int64_t core_type(const struct crpie_op *op);
/* aio.c */
int64_t core_aio(uint64_t addr, uint64_t len, uint64_t nr_req, int fd);

/* pidfds.c */
int64_t core_gone(const struct crpie_op *op);
int64_t core_ended(const struct crpie_op *op);

/* notify.c */
int64_t core_forget(const struct crpie_op *op);

/* hooks.c */
int64_t core_run_hooks(struct core *core, uint32_t hook);

/* log.c */
void core_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len);

/* tasks.c */
int64_t core_clone_task(struct core *core, uint64_t index, uint64_t flags);
int64_t core_start_thread(struct core *core, uint64_t index);

int core_wait_for_id(int64_t result, int *tries);

/* sync.c */
void core_ring(struct core *core);
void core_news(struct core *core);
void core_gate(struct core *core, uint32_t gate);
void core_traced(struct core *core);
void core_arrive(struct core *core, uint64_t barrier);
void core_await(struct core *core, uint64_t barrier, uint32_t count);
void core_mark(struct core *core, uint32_t mark);
void core_follow(struct core *core, uint64_t status, uint32_t mark);
int64_t core_leave(struct core *core);
_Noreturn void core_park(struct core *core);

#endif
