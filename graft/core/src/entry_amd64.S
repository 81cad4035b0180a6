/* SPDX-License-Identifier: Apache-2.0 */
/* Where assembly is needed: the first and the last instructions, calls that can be abandoned, a thread of our own. */
#include "graft_contract.h"

	.text

/* CRIU's last rt_sigreturn(2) leads here: rdi = struct graft_thread, rsp = top of the thread's stack. */
	.globl	graft_entry
	.type	graft_entry, @function
graft_entry:
	xorl	%ebp, %ebp
	call	graft_main
	ud2
	.size	graft_entry, .-graft_entry

/*
 * long graft_call(fn, arg0, arg1, arg2, uint64_t *resume): fn(arg0, arg1, arg2). A signal handler may abandon the call
 * by going on at graft_call_end with rsp = *resume.
 */
	.globl	graft_call, graft_call_end
	.hidden	graft_call, graft_call_end
	.type	graft_call, @function
graft_call:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rsp, (%r8)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	call	*%rax
graft_call_end:
	cld
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	graft_call, .-graft_call

	.globl	graft_restorer
	.hidden	graft_restorer
	.type	graft_restorer, @function
graft_restorer:
	movl	$15, %eax		/* __NR_rt_sigreturn */
	syscall
	ud2
	.size	graft_restorer, .-graft_restorer

/* long graft_clone(flags, stack, ptid, ctid, fn, arg): clone(2); the child calls fn(arg) and ends with exit(2). */
	.globl	graft_clone
	.hidden	graft_clone
	.type	graft_clone, @function
graft_clone:
	movq	%rcx, %r10		/* child_tid; rdi, rsi, rdx are in place */
	movq	%r8, %rcx
	subq	$16, %rsi
	movq	%rcx, 0(%rsi)
	movq	%r9, 8(%rsi)
	xorl	%r8d, %r8d
	movl	$56, %eax		/* __NR_clone */
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	xorl	%ebp, %ebp
	popq	%rax
	popq	%rdi
	call	*%rax
	xorl	%edi, %edi
	movl	$60, %eax		/* __NR_exit */
	syscall
	ud2
	.size	graft_clone, .-graft_clone

/*
 * graft_leave(rdi = this thread's rt_sigframe + 8, rsi = struct graft_leave): crpie graft copies these instructions to a
 * page that stays. The last thread to come unmaps the blob, the others wait for that; then each returns to what it did
 * when it was dumped.
 */
	.globl	graft_leave, graft_leave_end
	.type	graft_leave, @function
graft_leave:
	movq	%rdi, %rsp
	movq	%rsi, %rbx
	lock decl GRAFT_LEAVE_INSIDE(%rbx)
	jz	2f
1:	movl	$202, %eax		/* __NR_futex */
	leaq	GRAFT_LEAVE_GONE(%rbx), %rdi
	movl	$128, %esi		/* FUTEX_WAIT_PRIVATE */
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	syscall
	cmpl	$0, GRAFT_LEAVE_GONE(%rbx)
	je	1b
	jmp	3f
2:	movl	$11, %eax		/* __NR_munmap */
	movq	GRAFT_LEAVE_BLOB_START(%rbx), %rdi
	movq	GRAFT_LEAVE_BLOB_SIZE(%rbx), %rsi
	syscall
	movl	$1, GRAFT_LEAVE_GONE(%rbx)
	movl	$202, %eax
	leaq	GRAFT_LEAVE_GONE(%rbx), %rdi
	movl	$129, %esi		/* FUTEX_WAKE_PRIVATE */
	movl	$0x7fffffff, %edx
	syscall
3:	movl	$15, %eax		/* __NR_rt_sigreturn */
	syscall
	ud2
graft_leave_end:
	.size	graft_leave, .-graft_leave

	.section .note.GNU-stack, "", @progbits
