// SPDX-License-Identifier: Apache-2.0
/*
 * callers: fails below a function that its hook has called. callers.o,how=library
 *
 *	how=library  libc's atol with a null pointer
 *	how=callback libc's qsort calls a function of the plugin that crashes
 *	how=nowhere  a call of address 16
 *	how=inlined  a null pointer for a function of the SDK, whose code is the hook's
 *	how=hang     libc's qsort calls a function of the plugin that never returns
 *	how=error    pr_err, and -EIO
 */
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/symbols.h>

typedef int (*compare_fn)(const void *, const void *);
typedef void (*qsort_fn)(void *base, size_t count, size_t size, compare_fn compare);
typedef long (*atol_fn)(const char *);

static int never_returns(const void *a, const void *b)
{
	while (b != NULL)
		CRPIE_OPAQUE(a);
	return 0;
}

static int crashes(const void *a, const void *b)
{
	volatile int *nowhere = NULL;

	(void)a;
	(void)b;
	CRPIE_OPAQUE(nowhere);
	*nowhere = 1;
	return 0;
}

static __attribute__((noinline)) int sort(uint64_t function, compare_fn compare)
{
	int numbers[] = { 3, 2, 1 };

	((qsort_fn)function)(numbers, 3, sizeof(numbers[0]), compare);
	return numbers[0];
}

static __attribute__((noinline)) int measure(uint64_t function)
{
	const char *text = NULL;

	CRPIE_OPAQUE(text);
	return (int)((atol_fn)function)(text) + 1;
}

static int fail_below(struct crpie_ctx *ctx)
{
	const char *how = crpie_param(ctx, "how");
	const char *nothing = NULL;
	uint64_t function = 16;

	if (crpie_strcmp(how, "error") == 0) {
		pr_err(ctx, "the first of the errors");
		pr_err(ctx, "no room for %d", 7);
		pr_info(ctx, "goes home");
		return -EIO;
	}
	if (crpie_strcmp(how, "inlined") == 0) {
		CRPIE_OPAQUE(nothing);
		return crpie_strcmp(nothing, how);
	}
	if (crpie_strcmp(how, "callback") == 0)
		return sort(crpie_symbol(ctx, "qsort"), crashes);
	if (crpie_strcmp(how, "hang") == 0)
		return sort(crpie_symbol(ctx, "qsort"), never_returns);
	if (crpie_strcmp(how, "library") == 0)
		function = crpie_symbol(ctx, "atol");
	return measure(function);
}

CR_PLUGIN_REGISTER_DUMMY("callers")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, fail_below)
