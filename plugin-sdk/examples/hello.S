/* SPDX-License-Identifier: Apache-2.0 */
/* hello: a plugin in assembly. Logs one line when the restored program's memory is complete. */
#include <crpie/asm.h>

	crpie_plugin "hello"
	crpie_no_params
	crpie_hook CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, hello

	.text
	.type hello, %function
hello:
#if defined(__x86_64__)
	/* ctx in rdi: ctx->log(ctx, level, text, length). One push aligns the stack (psABI 3.2.2). */
	push %rbp
	mov $CRPIE_LOG_INFO, %esi
	lea text(%rip), %rdx
	mov $text_length, %ecx
	call *CRPIE_CTX_LOG(%rdi)
	xor %eax, %eax
	pop %rbp
	ret
#elif defined(__aarch64__)
	stp x29, x30, [sp, #-16]!
	mov w1, #CRPIE_LOG_INFO
	adrp x2, text
	add x2, x2, :lo12:text
	mov x3, #text_length
	ldr x4, [x0, #CRPIE_CTX_LOG]
	blr x4
	mov w0, #0
	ldp x29, x30, [sp], #16
	ret
#endif
	.size hello, . - hello

	.section .rodata
text:	.ascii "hello from assembly"
	.set text_length, . - text
