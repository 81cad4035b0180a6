/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that counts how often the process it is in was restored, for programs that can load one: by LD_PRELOAD, by
 * ctypes of Python, by cgo of Go. It carries its hook itself, so that the program needs no plugin.
 *
 *	gcc -shared -fPIC -O2 -I include -o libgeneration.so generation.c
 *	LD_PRELOAD=$PWD/libgeneration.so program
 *	crpie restore -D images --resident-hooks=libgeneration.so
 *
 * With GENERATION_SIGNAL=N in the environment it also sends the process signal N, such as the one by which a daemon
 * reads its configuration again: an unprepared program hears of the restore that way.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <crpie/resident.h>

/* How often the process was restored; programs read it. */
volatile unsigned long crpie_generation;

static int to_send;

__attribute__((constructor)) static void start(void)
{
	const char *text = getenv("GENERATION_SIGNAL");

	if (text != NULL)
		to_send = atoi(text);
}

/* kill(2) is async-signal-safe: the signal is delivered when the program goes on. */
static int restored(struct crpie_ctx *ctx)
{
	(void)ctx;
	crpie_generation++;
	if (to_send > 0)
		kill(getpid(), to_send);
	return 0;
}

CRIU_HOOKS = {
	CRIU_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, restored),
	CRIU_HOOKS_END,
};
