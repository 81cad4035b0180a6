/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole program of the zygote's ELF file (restorer/internal/run/stub.go builds it): carry out a table of system calls that
 * maps the region, then leave for the core. The table, struct crpie_stub_call[], follows the code.
 *
 * A call that fails ends the process with status CRPIE_STUB_FAILED + its index (at most 127); nothing else can go wrong
 * here.
 */
#include "contract.h"

#define CALL_ARG(n) (CRPIE_STUB_CALL_ARG + 8 * (n))

	.text
	.globl	stub_entry
	.type	stub_entry, @function
stub_entry:
	leaq	stub_table(%rip), %rbx
	xorl	%r12d, %r12d
1:	movq	CRPIE_STUB_CALL_NR(%rbx), %rax
	movq	CALL_ARG(0)(%rbx), %rdi
	movq	CALL_ARG(1)(%rbx), %rsi
	movq	CALL_ARG(2)(%rbx), %rdx
	testq	%rax, %rax
	js	3f
	movq	CALL_ARG(3)(%rbx), %r10
	movq	CALL_ARG(4)(%rbx), %r8
	movq	CALL_ARG(5)(%rbx), %r9
	syscall
	movq	CRPIE_STUB_CALL_WANT(%rbx), %rcx
	testq	%rcx, %rcx
	js	2f
	cmpq	%rcx, %rax
	jne	4f
2:	testq	%rax, %rax
	js	4f
	addq	$CRPIE_STUB_CALL_SIZEOF, %rbx
	incl	%r12d
	jmp	1b
3:	movq	%rdx, %rsp
	movq	%rdi, %rcx
	movq	%rsi, %rdi
	jmp	*%rcx
4:	leal	CRPIE_STUB_FAILED(%r12), %edi
	movl	$231, %eax		/* __NR_exit_group */
	syscall
	ud2
	.balign	8
stub_table:
	.size	stub_entry, .-stub_entry

	.section .note.GNU-stack, "", @progbits
