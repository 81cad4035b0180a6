/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where assembly is needed: the zygote's entry, the one syscall instruction that the controller borrows to unmap the
 * region (core_syscall_insn), and the start of a thread on its own stack.
 */
	.text

/* The stub jumps here: rdi = struct crpie_plan, rsp = top of stack 0, 16-byte aligned. */
	.globl	core_entry
	.type	core_entry, @function
core_entry:
	xorl	%ebp, %ebp
	call	core_zygote
	ud2
	.size	core_entry, .-core_entry

	.globl	core_syscall_insn
	.hidden	core_syscall_insn
	.type	core_syscall_insn, @function
core_syscall_insn:
	syscall
	ud2
	.size	core_syscall_insn, .-core_syscall_insn

/* long core_syscall(long nr, const uint64_t *arg) */
	.globl	core_syscall
	.hidden	core_syscall
	.type	core_syscall, @function
core_syscall:
	movq	%rdi, %rax
	movq	%rsi, %rcx
	movq	0(%rcx), %rdi
	movq	8(%rcx), %rsi
	movq	16(%rcx), %rdx
	movq	24(%rcx), %r10
	movq	32(%rcx), %r8
	movq	40(%rcx), %r9
	syscall
	ret
	.size	core_syscall, .-core_syscall

/*
 * long core_clone_onto(const void *args, uint64_t size, void (*fn)(void *), void *arg)
 * clone3(2) with a new stack; the child calls fn(arg) there, which must not return.
 */
	.globl	core_clone_onto
	.hidden	core_clone_onto
	.type	core_clone_onto, @function
core_clone_onto:
	movq	%rdx, %r8
	movq	%rcx, %r9
	movl	$435, %eax		/* __NR_clone3 */
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	xorl	%ebp, %ebp
	movq	%r9, %rdi
	call	*%r8
	ud2
	.size	core_clone_onto, .-core_clone_onto

	.section .note.GNU-stack, "", @progbits
