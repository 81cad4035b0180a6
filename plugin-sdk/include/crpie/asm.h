/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registering a PIE plugin from assembly (GNU as syntax; the file ends in .S so that it is preprocessed).
 *
 *	#include <crpie/asm.h>
 *
 *	crpie_plugin "greet"
 *	crpie_hook CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, greet
 *
 *	        .text
 *	greet:  ...             // x86-64: ctx in rdi, result in eax; aarch64: ctx in x0, result in w0
 *
 * The numbers repeat abi.h, which an assembler cannot read; a test compares the two.
 */
#ifndef CRPIE_ASM_H
#define CRPIE_ASM_H

#define CRPIE_ABI_VERSION 5

#define CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED 0x100
#define CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY 0x101
#define CR_PLUGIN_HOOK__PIE_RST_POST_FILES 0x102
#define CR_PLUGIN_HOOK__PIE_RST_POST_THREADS 0x103
#define CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS 0x104
#define CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD 0x105
#define CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN 0x106
#define CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP 0x180
#define CR_PLUGIN_HOOK__PIE_DMP_RESUMED 0x181

/* ctx->hook in init and exit */
#define CRPIE_HOOK_INIT 0xf0
#define CRPIE_HOOK_EXIT 0xf1

#define CRPIE_PARAM_KIND_NONE 0
#define CRPIE_PARAM_KIND_STRING 1
#define CRPIE_PARAM_KIND_INT 2
#define CRPIE_PARAM_KIND_BOOL 3
#define CRPIE_PARAM_KIND_ENUM 4
#define CRPIE_PARAM_KIND_SIZE 5
#define CRPIE_PARAM_KIND_ONE_OF 6
#define CRPIE_OPTIONAL 0
#define CRPIE_REQUIRED 1
#define CRPIE_DEFAULTED 2
#define CRPIE_IN_TASK 4

#define CRPIE_LOG_ERROR 1
#define CRPIE_LOG_WARN 2
#define CRPIE_LOG_INFO 3
#define CRPIE_LOG_DEBUG 4

/* Offsets of members of struct crpie_ctx. */
#define CRPIE_CTX_SIZE 0
#define CRPIE_CTX_ABI 4
#define CRPIE_CTX_HOOK 8
#define CRPIE_CTX_PID 12
#define CRPIE_CTX_TID 16
#define CRPIE_CTX_NR_THREADS 20
#define CRPIE_CTX_DUMP_TIME_NS 24
#define CRPIE_CTX_RESTORE_TIME_NS 32
#define CRPIE_CTX_COMM 40
#define CRPIE_CTX_PLUGIN 48
#define CRPIE_CTX_PARAMS 56
#define CRPIE_CTX_NR_PARAMS 64
#define CRPIE_CTX_VMAS 72
#define CRPIE_CTX_NR_VMAS 80
#define CRPIE_CTX_MM 88
#define CRPIE_CTX_LOG 96

#ifdef __ASSEMBLER__

	/*
	 * One per object: the plugin's name (at most 47 bytes), and its init and exit functions if it has any. abi=2 if
	 * they use the context, the second argument of init and the third of exit.
	 */
	.macro crpie_plugin name:req, init=0, exit=0, abi=1
	.pushsection crpie_plugin, "aw", %progbits
	.balign 8
	.long 72, \abi
9999:	.asciz "\name"
	.if . - 9999b > 48
	.error "crpie_plugin: the name is longer than 47 bytes"
	.endif
	.zero 48 - (. - 9999b)
	.quad \init, \exit
	.popsection
	.endm

	/* One per hook function; the lower priority runs first, equal ones in this order. */
	.macro crpie_hook hook:req, fn:req, priority=0
	.pushsection crpie_hooks, "aw", %progbits
	.balign 8
	.if \hook < CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP
	.long 24, 1, \hook, \priority
	.else
	.long 24, 5, \hook, \priority
	.endif
	.quad \fn
	.popsection
	.endm

	.macro crpie_text text, room:req
9999:	.asciz "\text"
	.if . - 9999b > \room
	.error "crpie_param: the text is too long"
	.endif
	.zero \room - (. - 9999b)
	.endm

	/*
	 * One per parameter, see struct crpie_param_record: crpie_param CRPIE_PARAM_KIND_INT, "size", min=1, max=8
	 * A default: crpie_param CRPIE_PARAM_KIND_INT, "size", CRPIE_DEFAULTED, min=1, max=8, default="4"
	 */
	.macro crpie_param kind:req, name, flags=0, min=0, max=0, values, help, default
	.pushsection crpie_params, "aw", %progbits
	.balign 8
	.if \flags & CRPIE_DEFAULTED
	.long 352, 3, \kind, \flags
	.else
	.long 352, 2, \kind, \flags
	.endif
	.quad \min, \max
	crpie_text "\name", 32
	crpie_text "\values", 96
	crpie_text "\help", 128
	crpie_text "\default", 64
	.popsection
	.endm

	/* The plugin takes no parameter. */
	.macro crpie_no_params
	crpie_param CRPIE_PARAM_KIND_NONE
	.endm

	/* A symbol of the process, see struct crpie_import_record: crpie_import slot, "RAND_poll", "libcrypto.so.3" */
	.macro crpie_import slot:req, symbol:req, library, flags=CRPIE_REQUIRED
	.pushsection crpie_imports, "aw", %progbits
	.balign 8
	.long 280, 4, \flags, 0
	.quad \slot
	crpie_text "\symbol", 192
	crpie_text "\library", 64
	.popsection
	.endm

	/* One for each system call that the plugin makes: crpie_syscall __NR_getpid, with <asm/unistd.h>. */
	.macro crpie_syscall nr:req
	.pushsection crpie_syscalls, "a", %progbits
	.balign 8
	.long 16, 1, \nr, 0
	.popsection
	.endm

	/* Without this note a linker would ask for an executable stack. */
	.section .note.GNU-stack, "", %progbits
	.text

#endif
#endif
