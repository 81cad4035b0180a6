/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole program of the zygote's ELF file (restorer/stub.go builds it): carry out a table of system calls that maps
 * the region, then leave for the core. The table follows the code:
 *
 *	struct { int64_t nr; uint64_t arg[6]; int64_t want; } call[];   nr < 0 ends it; want < 0: any result >= 0 will do
 *	for the end: arg[0] = address to jump to, arg[1] = its rdi, arg[2] = its rsp
 *
 * A call that fails ends the process with status 64 + its index (at most 127); nothing else can go wrong here.
 */
	.text
	.globl	stub_entry
	.type	stub_entry, @function
stub_entry:
	leaq	stub_table(%rip), %rbx
	xorl	%r12d, %r12d
1:	movq	0(%rbx), %rax
	movq	8(%rbx), %rdi
	movq	16(%rbx), %rsi
	movq	24(%rbx), %rdx
	testq	%rax, %rax
	js	3f
	movq	32(%rbx), %r10
	movq	40(%rbx), %r8
	movq	48(%rbx), %r9
	syscall
	movq	56(%rbx), %rcx
	testq	%rcx, %rcx
	js	2f
	cmpq	%rcx, %rax
	jne	4f
2:	testq	%rax, %rax
	js	4f
	addq	$64, %rbx
	incl	%r12d
	jmp	1b
3:	movq	%rdx, %rsp
	movq	%rdi, %rcx
	movq	%rsi, %rdi
	jmp	*%rcx
4:	leal	64(%r12), %edi
	movl	$231, %eax		/* __NR_exit_group */
	syscall
	ud2
	.balign	8
stub_table:
	.size	stub_entry, .-stub_entry

	.section .note.GNU-stack, "", @progbits
