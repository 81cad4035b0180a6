// SPDX-License-Identifier: Apache-2.0
/*
 * The whole program of the first process of a pid namespace that a restore makes so that tasks keep their numbers
 * (--new-pids). It is all that stays of the restorer: it has no data, and two pages.
 *
 * It is started outside of the namespace, clones itself into a new one, tells the controller the number, and waits to
 * be killed: so the first process becomes a child of whoever collects orphans, and neither the controller nor what it
 * executes afterwards has a child that it does not know of. Descriptor 0 is one end of a SOCK_SEQPACKET pair:
 *
 *	started process                first process                  controller
 *	pid or errno (int32) ────────────────────────────────────►    opens a pidfd, kills the started process
 *	                               waits                   ◄──    pid of the root task (int32): it is about to run
 *	                                                       ◄──    or its end is closed: the restore has failed
 *
 * The arguments are the name of the process and "/".
 */
#include "syscall.h"

#include <asm/signal.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#define CONTROLLER 0
#define inline_static static inline __attribute__((always_inline))

/* elf(5): argc, argv and envp lie where the stack pointer is. The entry is the first instruction of the file. */
__asm__(".text\n"
	"	.globl init_entry\n"
	"	.type init_entry, @function\n"
	"init_entry:\n"
	"	movq %rsp, %rdi\n"
	"	andq $-16, %rsp\n"
	"	call init_main\n"
	"	ud2\n"
	"	.size init_entry, .-init_entry\n");

inline_static _Noreturn void leave(int status)
{
	for (;;)
		sys1(__NR_exit_group, status);
}

/* Children that end are gone at once: SIGCHLD is ignored, wait(2). */
inline_static void prepare(const char *name, const char *root)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} ignore = { .handler = (uint64_t)SIG_IGN };

	sys4(__NR_rt_sigaction, SIGCHLD, (long)&ignore, 0, 8);
	sys3(__NR_close_range, CONTROLLER + 1, ~0U, 0);
	sys1(__NR_chdir, (long)root);
	sys2(__NR_prctl, PR_SET_NAME, (long)name);
}

inline_static void await_end(int32_t pid)
{
	struct pollfd process = { .fd = sys2(__NR_pidfd_open, pid, 0), .events = POLLIN };

	if (process.fd < 0)
		return; /* it has ended, and was collected */
	while (sys4(__NR_ppoll, (long)&process, 1, 0, 0) != 1)
		;
	sys1(__NR_close, process.fd);
}

#define SHORTEST 1000000L /* nanoseconds */
#define LONGEST 1000000000L

/*
 * Waits until no other process is in the namespace: its end would kill them, pid_namespaces(7). Some are no children:
 * the root task as long as its parent has not collected it, and what has come by setns(2). kill(2) finds them.
 */
inline_static void await_solitude(void)
{
	struct {
		int64_t sec, nsec;
	} pause = { 0, SHORTEST };

	for (;;) {
		while (sys4(__NR_wait4, -1, 0, __WALL, 0) >= 0)
			;
		if (sys2(__NR_kill, -1, 0) == -ESRCH)
			return;
		sys2(__NR_nanosleep, (long)&pause, 0);
		pause.nsec = 2 * pause.nsec < LONGEST ? 2 * pause.nsec : LONGEST - 1;
	}
}

inline_static _Noreturn void be_first(void)
{
	int32_t root;

	sys0(__NR_setsid);
	if (sys3(__NR_read, CONTROLLER, (long)&root, sizeof(root)) != sizeof(root))
		leave(1);
	sys1(__NR_close, CONTROLLER);
	await_end(root);
	await_solitude();
	leave(0);
}

__attribute__((used)) static _Noreturn void init_main(const uint64_t *stack)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	int32_t pid;

	prepare((const char *)stack[1], (const char *)stack[2]);
	pid = sys2(__NR_clone3, (long)&args, sizeof(args));
	if (pid == 0)
		be_first();
	sys3(__NR_write, CONTROLLER, (long)&pid, sizeof(pid));
	for (;;)
		sys0(__NR_pause);
}
