/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole program of the ELF file that crpie try starts and traces: it waits. The tracer then has it execute the
 * program: argv[0] is the program's path, and what follows its arguments.
 */
	.text
	.globl	stub_entry, stub_syscall
	.type	stub_entry, @function
stub_entry:
	movl	$34, %eax		/* __NR_pause */
stub_syscall:
	syscall
	jmp	stub_entry
	.size	stub_entry, .-stub_entry

	.section .note.GNU-stack, "", @progbits
