/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary interface between crpie and a PIE plugin.
 *
 * A plugin describes itself with fixed-size records in two ELF sections; crpie collects them when it validates the
 * object, so nothing has to run for a hook to be registered. A hook receives one struct crpie_ctx and needs nothing
 * else: no libc, no symbol of anybody.
 *
 * How it grows, so that objects and crpies of different age work together:
 *
 *	struct crpie_ctx        begins with its size, and members are only ever appended. A plugin that uses one added
 *	                        after version 1 asks CRPIE_CTX_HAS first; an older plugin does not notice.
 *	struct crpie_…_record   begin with their size and the version of crpie that they need at least (abi). A longer
 *	                        record is read as far as it is known, one that needs a later version is refused.
 *	struct crpie_param,     never change: plugins step through arrays of them with the size that they were compiled
 *	crpie_vma, crpie_mm,    with. More about a mapping or the program would be another member of struct crpie_ctx.
 *	crpie_regs, crpie_timer
 *	enumerators             keep their values.
 *	init, exit              were given a context in version 2, as a last argument that older ones do not look at.
 *	parameters              can have defaults from version 3 on.
 *	imports                 came in version 4. A crpie of before overlooks them, and their slots stay 0.
 *	hooks around a dump     came in version 5. A crpie of before refuses an object that has any.
 *
 * The same numbers live in internal/abi (Go), where a test compiles this header and compares sizes, offsets and values.
 */
#ifndef CRPIE_ABI_H
#define CRPIE_ABI_H

#include <stdint.h>

#define CRPIE_ABI_VERSION 5

/* ELF sections of the records. Names are C identifiers, so that linkers keep and concatenate them under ld -r. */
#define CRPIE_PLUGIN_SECTION "crpie_plugin"
#define CRPIE_HOOKS_SECTION "crpie_hooks"
#define CRPIE_PARAMS_SECTION "crpie_params"
#define CRPIE_SYSCALLS_SECTION "crpie_syscalls"
#define CRPIE_IMPORTS_SECTION "crpie_imports"

/*
 * Hook ids. CRIU's own plugin hooks count up from 0 (criu-plugin.h); ours have a range that they cannot reach.
 * The order of the numbers is the order of the stages in a restore. docs/stages.md says what each stage guarantees.
 */
enum {
	CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED = 0x100,         /* per task: only the blob is mapped */
	CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY = 0x101,          /* per task: memory final and filled */
	CR_PLUGIN_HOOK__PIE_RST_POST_FILES = 0x102,           /* per task: descriptors are the application's */
	CR_PLUGIN_HOOK__PIE_RST_POST_THREADS = 0x103,         /* per task: threads exist, parked */
	CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS = 0x104,            /* per task: last moment with the restorer's privileges */
	CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD = 0x105, /* per thread: the application's privileges */
	CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN = 0x106,        /* per task: last of all, timers not yet armed */
	CR_PLUGIN_HOOK__PIE_RST_MAX = 0x107,

	/*
	 * Around a dump, in the live process: a restore does not run them. docs/dump.md says what they may count on.
	 */
	CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP = 0x180, /* per task: before criu dump, which finds what the hook left */
	CR_PLUGIN_HOOK__PIE_DMP_RESUMED = 0x181,  /* per task: it goes on, after --leave-running or a failed dump */
	CR_PLUGIN_HOOK__PIE_DMP_MAX = 0x182,
};

/* What ctx->hook is in init and exit, for which no hook can be registered. */
enum {
	CRPIE_HOOK_INIT = 0xf0,
	CRPIE_HOOK_EXIT = 0xf1,
};

/* The stage argument of a plugin's init and exit functions; DUMP with PIE_DMP_* hooks. The values are CRIU's. */
enum {
	CR_PLUGIN_STAGE__DUMP = 0,
	CR_PLUGIN_STAGE__PRE_DUMP = 1,
	CR_PLUGIN_STAGE__RESTORE = 2,
};

/* Log levels; the values are CRIU's (criu-log.h). */
enum {
	CRPIE_LOG_ERROR = 1,
	CRPIE_LOG_WARN = 2,
	CRPIE_LOG_INFO = 3,
	CRPIE_LOG_DEBUG = 4,
};

#define CRPIE_NAME_MAX 48       /* plugin name with its terminating NUL, bytes */
#define CRPIE_LOG_LINE_MAX 1024 /* longer log messages are cut, bytes */

struct crpie_ctx;

typedef int (*crpie_hook_fn)(struct crpie_ctx *ctx);
typedef int (*crpie_init_fn)(int stage, struct crpie_ctx *ctx);
typedef void (*crpie_exit_fn)(int stage, int ret, struct crpie_ctx *ctx);

/* One per object, in CRPIE_PLUGIN_SECTION; 72 bytes. An object without one is named after its file. */
struct crpie_plugin_record {
	uint32_t size; /* sizeof(struct crpie_plugin_record) */
	uint32_t abi;  /* the least CRPIE_ABI_VERSION that the object can do with: 1 */
	char name[CRPIE_NAME_MAX];
	/*
	 * or 0; once per task, before its first hook. -ENOTSUP: this plugin runs no hook and no exit in this task; any
	 * other value than 0 undoes the restore
	 */
	int (*init)(int stage);
	void (*exit)(int stage, int ret); /* or 0; once per task, after its last hook succeeded, with ret 0 */
};

/* The same record for functions that take a context; its abi is 2. */
struct crpie_plugin_record_ctx {
	uint32_t size;
	uint32_t abi;
	char name[CRPIE_NAME_MAX];
	crpie_init_fn init;
	crpie_exit_fn exit;
};

/* One per hook function, in CRPIE_HOOKS_SECTION; 24 bytes. */
struct crpie_hook_record {
	uint32_t size;    /* sizeof(struct crpie_hook_record) */
	uint32_t abi;     /* the least CRPIE_ABI_VERSION that knows the hook: 1, of PIE_DMP_* 5 */
	uint32_t hook;    /* CR_PLUGIN_HOOK__PIE_RST_* or CR_PLUGIN_HOOK__PIE_DMP_* */
	int32_t priority; /* lower runs first; equal ones in command-line order, in an object in that of the records */
	crpie_hook_fn fn;
};

/* What the value of a parameter is. */
enum {
	CRPIE_PARAM_KIND_NONE = 0,   /* no parameter: says that there are no others than those that are declared */
	CRPIE_PARAM_KIND_STRING = 1, /* any text; not empty if it is required */
	CRPIE_PARAM_KIND_INT = 2,    /* min to max, decimal or with 0x */
	CRPIE_PARAM_KIND_BOOL = 3,   /* 1 yes true on, 0 no false off; an empty value is yes */
	CRPIE_PARAM_KIND_ENUM = 4,   /* one word of values */
	CRPIE_PARAM_KIND_SIZE = 5,   /* bytes, min to max: digits and perhaps K, M, G or T (powers of 1024) */
	CRPIE_PARAM_KIND_ONE_OF = 6, /* no parameter: values names some that exclude each other */
};

enum {
	CRPIE_OPTIONAL = 0,
	CRPIE_REQUIRED = 1,  /* flag of a record: it must be given; of those in a ONE_OF, one */
	CRPIE_DEFAULTED = 2, /* flag of a record: crpie hands the plugin def if it is not given */
	CRPIE_IN_TASK = 4,   /* flag of a record: the plugin reads a value name@ from a file, crpie_param_read */
};

#define CRPIE_PARAM_NAME_MAX 32 /* with the terminating NUL, bytes; as the next three */
#define CRPIE_PARAM_VALUES_MAX 96
#define CRPIE_PARAM_HELP_MAX 128
#define CRPIE_PARAM_DEFAULT_MAX 64

/*
 * One per parameter that a plugin takes, in CRPIE_PARAMS_SECTION; 352 bytes. If an object has any, others are refused
 * before a process exists. It is read from the object and does not become part of the process.
 */
struct crpie_param_record {
	uint32_t size;  /* sizeof(struct crpie_param_record) */
	uint32_t abi;   /* the least CRPIE_ABI_VERSION that knows it: 2; with CRPIE_DEFAULTED 3 */
	uint32_t kind;  /* CRPIE_PARAM_KIND_* */
	uint32_t flags; /* CRPIE_REQUIRED or CRPIE_DEFAULTED */
	uint64_t min, max;
	char name[CRPIE_PARAM_NAME_MAX];
	char values[CRPIE_PARAM_VALUES_MAX]; /* words separated by blanks */
	char help[CRPIE_PARAM_HELP_MAX];
	char def[CRPIE_PARAM_DEFAULT_MAX]; /* since version 3: records of earlier headers end here */
};

#define CRPIE_SYSCALL_COMPUTED 0xffffffffu /* nr of a record: the plugin computes the number */

/*
 * One per place that makes a system call, in CRPIE_SYSCALLS_SECTION; 16 bytes. The macros of <crpie/syscall.h> write
 * them. crpie graft asks the seccomp filters of the task about these calls. It is read from the object and does not
 * become part of the process.
 */
struct crpie_syscall_record {
	uint32_t size; /* sizeof(struct crpie_syscall_record) */
	uint32_t abi;  /* the least CRPIE_ABI_VERSION that the object can do with: 1 */
	uint32_t nr;   /* __NR_* of the object's machine, or CRPIE_SYSCALL_COMPUTED */
	uint32_t reserved;
};

#define CRPIE_IMPORT_SYMBOL_MAX 192 /* with the terminating NUL, bytes; as the next one */
#define CRPIE_IMPORT_LIBRARY_MAX 64

/*
 * One per symbol of the process that a plugin uses, in CRPIE_IMPORTS_SECTION; 280 bytes. Before the first call into the
 * plugin crpie puts the symbol's address into the slot. It is read from the object and does not become part of the
 * process; the slot does.
 */
struct crpie_import_record {
	uint32_t size;  /* sizeof(struct crpie_import_record) */
	uint32_t abi;   /* the least CRPIE_ABI_VERSION that knows it: 4 */
	uint32_t flags; /* CRPIE_REQUIRED: without the symbol nothing is done; CRPIE_OPTIONAL: the slot stays 0 */
	uint32_t reserved;
	void *slot;                             /* 8 writable bytes of the object, initialised with 0, aligned */
	char symbol[CRPIE_IMPORT_SYMBOL_MAX];   /* as in the symbol table, perhaps with @VERSION */
	char library[CRPIE_IMPORT_LIBRARY_MAX]; /* SONAME, file name or path; "": the program itself */
};

/* One key=value of --pie-plugin hook.o,key=value, in command-line order; both NUL-terminated, value may be empty. */
struct crpie_param {
	const char *key;
	const char *value;
};

/* One mapping of the task as it was dumped, in address order. */
struct crpie_vma {
	uint64_t start;   /* first byte */
	uint64_t end;     /* one past the last byte */
	uint32_t prot;    /* PROT_* of mmap(2) */
	uint32_t flags;   /* MAP_* of mmap(2) */
	uint64_t pgoff;   /* offset into the file, bytes */
	const char *name; /* path of the file, or "[heap]", "[stack]", "[vdso]", "[vvar]", or "" */
};

/* The addresses of prctl(PR_SET_MM_MAP), prctl(2), as dumped. */
struct crpie_mm {
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	const uint64_t *auxv; /* AT_* type/value pairs, getauxval(3), ended by AT_NULL */
	uint64_t auxv_words;  /* number of 64-bit words in auxv */
};

/*
 * The general registers with which a thread of an x86-64 program goes on. A hook of PIE_RST_PRE_SIGRETURN_THREAD may
 * change them down to flags; crpie fails the hook if ip or sp is no address of a program then, or if other flags are
 * different than CF, PF, AF, ZF, SF, DF and OF.
 */
struct crpie_regs {
	uint64_t ax, bx, cx, dx, si, di, bp, sp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t ip, flags;
	uint64_t fs_base, gs_base; /* from here on not to be changed */
	uint64_t cs, ss, ds, es, fs, gs;
	/*
	 * The system call in which the thread was stopped; -1: none, or not known. If it is to be made again, ip is
	 * that of the instruction and ax the number; if not, ax is the result: -EINTR for a sleep. A sleep, poll(2) or
	 * futex(2) that a stop had interrupted before is restart_syscall(2).
	 */
	int64_t syscall;
};

/* What a timer is. */
enum {
	CRPIE_TIMER_REAL = 0,    /* ITIMER_REAL of setitimer(2) */
	CRPIE_TIMER_VIRTUAL = 1, /* ITIMER_VIRTUAL */
	CRPIE_TIMER_PROF = 2,    /* ITIMER_PROF */
	CRPIE_TIMER_POSIX = 3,   /* of timer_create(2) */
};

/*
 * A timer of the task: one of setitimer(2) that runs, or a posix timer. A hook of PIE_RST_PRE_SIGRETURN may change what
 * remains, which counts from when the task goes on, and the interval; 0: the timer stands still, or runs once.
 */
struct crpie_timer {
	uint32_t kind; /* CRPIE_TIMER_* */
	int32_t id;    /* of a posix timer, else 0 */
	int32_t clock; /* CLOCK_* of a posix timer, else 0 */
	uint32_t reserved;
	int64_t remaining_ns;
	int64_t interval_ns;
};

/* Handed to a hook, init or exit. It is valid until that returns; strings and arrays until the last hook has. */
struct crpie_ctx {
	uint32_t size;           /* sizeof(struct crpie_ctx) of the restorer */
	uint32_t abi;            /* CRPIE_ABI_VERSION of the restorer */
	uint32_t hook;           /* the stage: CR_PLUGIN_HOOK__PIE_*, CRPIE_HOOK_INIT or CRPIE_HOOK_EXIT */
	int32_t pid;             /* of the task, in its own pid namespace */
	int32_t tid;             /* of the thread that runs the hook; equals pid except in ..._SIGRETURN_THREAD */
	uint32_t nr_threads;     /* of the task, the leader included */
	int64_t dump_time_ns;    /* when the images were completed (mtime of inventory.img), CLOCK_REALTIME, ns */
	int64_t restore_time_ns; /* when this restore began, CLOCK_REALTIME, ns */
	const char *comm;        /* name of the task, at most 15 bytes and NUL */
	const char *plugin;      /* name of the plugin; of several with one name "name #1", "name #2" */
	const struct crpie_param *params;
	uint64_t nr_params;
	const struct crpie_vma *vmas;
	uint64_t nr_vmas;
	const struct crpie_mm *mm;
	/* Writes len bytes of msg as one line of crpie's log. Works at every stage; needs no descriptor. */
	void (*log)(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len);
	uint64_t reserved[4];
	/* Ask CRPIE_CTX_HAS for what follows. */
	const uint64_t *vma_madv;   /* [nr_vmas]: what madvise(2) said of a mapping, bit n for advice n */
	struct crpie_regs *regs;    /* of the thread, for hooks of PIE_RST_PRE_SIGRETURN_THREAD, else 0 */
	struct crpie_timer *timers; /* [nr_timers], for hooks of PIE_RST_PRE_SIGRETURN, else 0 */
	uint64_t nr_timers;
};

#endif
