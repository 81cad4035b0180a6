/*
 * @NAME@: names the process anew. Change it into what you need.
 *
 *	crpie try ./hook.o -- PROGRAM
 *
 * sdk/include/crpie/asm.h has the offsets of the context's members, sdk/examples what others look like.
 */
#include <asm/unistd.h>

#include <crpie/asm.h>

#define PR_SET_NAME 15 /* <linux/prctl.h>, which no assembler can read */

	crpie_plugin "@NAME@"
	crpie_no_params
	crpie_hook CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook
	crpie_syscall __NR_prctl	/* what the code below calls; crpie check lists it */

	.text
	.type hook, %function
	/* prctl(PR_SET_NAME, name, 0, 0, 0), then ctx->log(ctx, level, text, length); or the error. */
hook:
#if defined(__x86_64__)
	push %rdi		/* the context; and the stack is aligned (psABI 3.2.2) */
	mov $__NR_prctl, %eax
	mov $PR_SET_NAME, %edi
	lea name(%rip), %rsi
	xor %edx, %edx
	xor %r10d, %r10d
	xor %r8d, %r8d
	syscall
	pop %rdi
	test %eax, %eax
	jnz 1f
	sub $8, %rsp
	mov $CRPIE_LOG_INFO, %esi
	lea text(%rip), %rdx
	mov $text_length, %ecx
	call *CRPIE_CTX_LOG(%rdi)
	add $8, %rsp
	xor %eax, %eax
1:	ret
#elif defined(__aarch64__)
	stp x29, x30, [sp, #-32]!
	str x0, [sp, #16]	/* the context */
	mov x8, #__NR_prctl
	mov x0, #PR_SET_NAME
	adrp x1, name
	add x1, x1, :lo12:name
	mov x2, #0
	mov x3, #0
	mov x4, #0
	svc #0
	cbnz w0, 1f
	ldr x0, [sp, #16]
	mov w1, #CRPIE_LOG_INFO
	adrp x2, text
	add x2, x2, :lo12:text
	mov x3, #text_length
	ldr x4, [x0, #CRPIE_CTX_LOG]
	blr x4
	mov w0, #0
1:	ldp x29, x30, [sp], #32
	ret
#endif
	.size hook, . - hook

	.section .rodata
name:	.asciz "restored"
text:	.ascii "the process is now restored"
	.set text_length, . - text
