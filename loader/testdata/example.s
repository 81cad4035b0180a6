# SPDX-License-Identifier: Apache-2.0
# The object of the examples: one hook that counts. as -o example.o example.s
	.text
	.globl	hook
	.type	hook, @function
hook:	addl	%eax, counter(%rip)
	xorl	%eax, %eax
	ret
	.size	hook, .-hook
	.data
	.globl	counter
counter: .long	3
	.section crpie_hooks, "aw"
	.long	24, 1, 0x106, 0
	.quad	hook
	.section .note.GNU-stack, "", @progbits
