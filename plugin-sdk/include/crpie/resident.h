/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resident hooks: functions that a program or library carries itself, and that crpie runs in it when it is restored,
 * before it executes its next instruction. No plugin is needed, and nothing of crpie: the array below is all.
 *
 *	#include <crpie/resident.h>
 *
 *	static volatile unsigned long generation;
 *
 *	static int restored(struct crpie_ctx *ctx)
 *	{
 *		generation++;
 *		return 0;
 *	}
 *
 *	CRIU_HOOKS = {
 *		CRIU_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, restored),
 *		CRIU_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, of_each_thread, 10),
 *		CRIU_HOOKS_END,
 *	};
 *
 *	crpie restore -D images --resident-hooks
 *
 * crpie finds the array by its exported symbol, criu_hooks, in the program and in libraries: link a program with
 * -Wl,--export-dynamic-symbol=criu_hooks or -rdynamic. The records are read from the memory as it was dumped. All must
 * be right, with functions in code of the same file, or none runs.
 *
 * A hook runs with the application's privileges in the task's first thread (PIE_RST_PRE_SIGRETURN, last of all) or in
 * each thread (PIE_RST_PRE_SIGRETURN_THREAD), between the plugins' hooks by priority, and on a stack of 124 KiB. It is
 * as in a signal handler: the thread stands wherever it was dumped, perhaps inside malloc with the lock held. Set a
 * flag, write(2) to a pipe or eventfd, call what is async-signal-safe. It returns 0, -ENOTSUP ("nothing to do"), or
 * another negative errno, which undoes the restore. ctx->log and the other members are as for plugins; there are no
 * parameters.
 */
#ifndef CRPIE_RESIDENT_H
#define CRPIE_RESIDENT_H

#include <crpie/abi.h>

#define CRIU_HOOKS_ABI_VERSION 1
#define CRIU_HOOKS_MAX 64 /* records in an array, without the one of zeros */

/* 32 bytes. The array ends with a record of zeros, or where its symbol does. */
struct criu_hook {
	uint32_t size;    /* sizeof(struct criu_hook) */
	uint32_t abi;     /* the least CRIU_HOOKS_ABI_VERSION that it can do with: 1 */
	uint32_t stage;   /* CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN or ..._PRE_SIGRETURN_THREAD */
	int32_t priority; /* lower runs first; equal ones after plugins, in the order of the array */
	crpie_hook_fn fn;
	uint64_t reserved; /* 0 */
};

#ifdef __cplusplus
#define CRIU_HOOKS_LINKAGE extern "C"
#else
#define CRIU_HOOKS_LINKAGE extern
#endif

/* C++ wants a declaration for the linkage, C is warned of a definition without one. */
CRIU_HOOKS_LINKAGE struct criu_hook criu_hooks[] __attribute__((visibility("default")));

#define CRIU_HOOKS struct criu_hook criu_hooks[] __attribute__((visibility("default"), used))
#define CRIU_HOOK_PRIO(stage, fn, priority) { (uint32_t)sizeof(struct criu_hook), 1, stage, priority, fn, 0 }
#define CRIU_HOOK(stage, fn) CRIU_HOOK_PRIO(stage, fn, 0)
#define CRIU_HOOKS_END { 0, 0, 0, 0, 0, 0 }

#endif
