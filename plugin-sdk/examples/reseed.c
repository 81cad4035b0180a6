/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reseed: gives each restored clone random state of its own.
 *
 *	crpie restore -D images --pie-plugin reseed.o                    libc: srandom() and srand48()
 *	crpie restore -D images --pie-plugin reseed.o,symbol=app_reseed  void app_reseed(unsigned long seed)
 *	crpie restore -D images --pie-plugin reseed.o,addr=0x401180      the same by address
 *
 * The function is called inside the program, with a seed from getrandom(2), before any of its threads runs again.
 *
 * Caveat: code of the program is called while the program stands wherever it was dumped. If a thread was dumped inside
 * random() and holds libc's lock, srandom() waits for it for ever, and --pie-timeout undoes the restore. (rand_r,
 * /dev/urandom and getrandom() need no help. OpenSSL, Python and others keep state of their own: reseed warns of those
 * that it finds; reseed-openssl.c reaches OpenSSL's, for others give a function of theirs as symbol=.)
 */
#include <crpie/string.h>
#include <crpie/syscall.h>

#include "target.h"

typedef void (*seed_fn)(unsigned long seed);

/* srandom takes an unsigned int and srand48 a long: with an integer register both are called alike. */
static int call_with_seed(const struct crpie_ctx *ctx, uint64_t addr, const char *what)
{
	int *err = crpie_errno(ctx), kept = err != NULL ? *err : 0;
	unsigned long seed;
	long ret = sys_getrandom(&seed, sizeof(seed), 0);

	if (ret != (long)sizeof(seed)) {
		pr_perror(ctx, ret, "getrandom");
		return ret < 0 ? (int)ret : -EIO;
	}
	if (!crpie_vma_covers(ctx, addr, 1, CRPIE_PROT_READ | CRPIE_PROT_EXEC)) {
		pr_err(ctx, "%s at 0x%lx is not in executable memory", what, addr);
		return -EFAULT;
	}
	((seed_fn)(uintptr_t)addr)(seed);
	if (err != NULL)
		*err = kept;
	pr_info(ctx, "%s called with a new seed", what);
	return 0;
}

/* Generators that srandom and srand48 do not reach, by the names of the files that have them. */
static const struct {
	char file[16]; /* up to a digit, a dot or the end */
	char name[12];
} unreached[] = {
	{ "libcrypto.so", "OpenSSL" }, { "libgcrypt.so", "libgcrypt" },
	{ "libgnutls.so", "GnuTLS" },  { "libsoftokn", "NSS" },
	{ "libpython", "Python" },     { "python", "Python" },
	{ "node", "Node.js" },         { "libjvm.so", "Java" },
	{ "libruby", "Ruby" },         { "ruby", "Ruby" },
	{ "libperl.so", "Perl" },      { "perl", "Perl" },
	{ "libphp", "PHP" },           { "php", "PHP" },
};

static const char *base(const char *path)
{
	const char *p, *base = path;

	for (p = path; *p; p++)
		if (*p == '/')
			base = p + 1;
	return base;
}

/* libcrypto.so is in libcrypto.so.3 and python in python3.11, but node is not in node_exporter. */
static int is_file(const char *path, const char *name)
{
	size_t len = crpie_strlen(name);
	const char *rest = base(path) + len;

	return crpie_strncmp(base(path), name, len) == 0 &&
	       (*rest == 0 || *rest == '.' || *rest == '-' || (*rest >= '0' && *rest <= '9'));
}

static void warn_of_others(const struct crpie_ctx *ctx)
{
	unsigned int i;
	uint64_t v;

	for (i = 0; i < sizeof(unreached) / sizeof(unreached[0]); i++)
		for (v = 0; v < ctx->nr_vmas; v++)
			if ((ctx->vmas[v].prot & CRPIE_PROT_EXEC) && is_file(ctx->vmas[v].name, unreached[i].file)) {
				pr_warn(ctx, "%s (%s) keeps random state of its own, which every clone shares",
					unreached[i].name, ctx->vmas[v].name);
				break;
			}
}

static int reseed_libc(const struct crpie_ctx *ctx)
{
	static const char names[][8] = { "srandom", "srand48" };
	unsigned int i, found = 0;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct crpie_symbol sym;
		int err;

		if (target_symbol(ctx, names[i], &sym) != 0)
			continue;
		found++;
		err = call_with_seed(ctx, sym.addr, names[i]);
		if (err != 0)
			return err;
	}
	if (found != 0) {
		warn_of_others(ctx);
		return 0;
	}
	pr_err(ctx, "%s has no functions srandom or srand48: give symbol= or addr=", ctx->comm);
	return -ESRCH;
}

static int reseed(struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	int err = target(ctx, &sym);

	if (err == CRPIE_PARAM_NOTFOUND)
		return reseed_libc(ctx);
	if (err != 0)
		return err;
	return call_with_seed(ctx, sym.addr, crpie_param(ctx, "symbol") ? crpie_param(ctx, "symbol") : "the function");
}

CR_PLUGIN_REGISTER_DUMMY("reseed")
CRPIE_PARAM_ONE_OF("symbol addr", CRPIE_OPTIONAL)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, reseed)
