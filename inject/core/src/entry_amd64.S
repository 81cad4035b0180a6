/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a call into a plugin ends, and where a plugin's log lines go. The tracer sees both as a system call that no
 * kernel has, at an address that it knows: no signal, so the process's actions for SIGTRAP stay as they are, sigaction(2).
 *
 * Without a tracer that call gives ENOSYS and the thread goes on: it leaves for the program by rt_sigreturn(2). The
 * frame was laid above the return address before the call, so the program is unharmed if crpie is killed in the middle.
 */
	.text

/* A hook returns here: eax = its result, rsp = 8 bytes into the frame of rt_sigreturn(2). */
	.globl	inject_return, inject_returned
	.hidden	inject_return, inject_returned
	.type	inject_return, @function
inject_return:
	movl	%eax, %edi
	movq	$-1, %rax
	syscall
inject_returned:
	movl	$39, %eax		/* __NR_getpid */
	syscall
	cmpl	inject_pid(%rip), %eax
	jne	1f
	movl	$15, %eax		/* __NR_rt_sigreturn */
	syscall
1:	xorl	%edi, %edi		/* a process that the hook forked has nothing to go back to */
	movl	$231, %eax		/* __NR_exit_group */
	syscall
	ud2
	.size	inject_return, .-inject_return

/* ctx->log(ctx, level, msg, len): rdi, esi, rdx, r10, because the system call takes rcx. */
	.globl	inject_log, inject_logged
	.hidden	inject_log, inject_logged
	.type	inject_log, @function
inject_log:
	movq	%rcx, %r10
	movq	$-1, %rax
	syscall
inject_logged:
	ret
	.size	inject_log, .-inject_log

	.data
	.globl	inject_pid
	.hidden	inject_pid
	.balign	4
inject_pid:				/* in its own pid namespace */
	.long	0

	.section .note.GNU-stack, "", @progbits
