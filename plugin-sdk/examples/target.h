/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share: the parameter pair symbol=NAME / addr=0x… that points into the restored program. */
#ifndef EXAMPLE_TARGET_H
#define EXAMPLE_TARGET_H

#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/symbols.h>
#include <crpie/symtab.h>

CRPIE_PARAM_STR("symbol", CRPIE_OPTIONAL, "name of a function or variable of the program")
CRPIE_PARAM_INT("addr", CRPIE_OPTIONAL, 1, UINT64_MAX, "its address, as nm prints it")

/* Asks the dynamic linker's tables first, then the program's file; 0 or a negative errno. */
static int target_symbol(const struct crpie_ctx *ctx, const char *name, struct crpie_symbol *sym)
{
	return crpie_symbol_find(ctx, NULL, name, sym) ? 0 : crpie_symtab_find(ctx, name, sym);
}

static int target_named(const struct crpie_ctx *ctx, const char *name, struct crpie_symbol *sym)
{
	int err = target_symbol(ctx, name, sym);

	if (err == -ESRCH)
		pr_err(ctx, "%s has no symbol %s: is it stripped? Link it with -rdynamic, or give addr= (see nm)",
		       ctx->comm, name);
	else if (err == -EEXIST)
		pr_err(ctx, "%s has several static symbols %s: give addr= (see nm)", ctx->comm, name);
	else if (err != 0)
		pr_perror(ctx, err, "symbol %s: the file of %s cannot be searched", name, ctx->comm);
	return err;
}

/* Fills *sym, or logs why not and returns a negative errno; CRPIE_PARAM_NOTFOUND if neither parameter was given. */
static int target(const struct crpie_ctx *ctx, struct crpie_symbol *sym)
{
	const char *name = crpie_param(ctx, "symbol");
	int err = crpie_param_u64(ctx, "addr", 1, UINT64_MAX, &sym->addr);

	return name != NULL ? target_named(ctx, name, sym) : err;
}

#endif
