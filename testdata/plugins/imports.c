/* SPDX-License-Identifier: Apache-2.0 */
/* Uses functions and variables of the process: of libcrypto, of libc, static ones of the program. */
#include <crpie/log.h>
#include <crpie/plugin.h>

int RAND_poll(void);
unsigned long OpenSSL_version_num(void);
int getpid(void);
extern char **environ;

CRPIE_IMPORT(RAND_poll, "libcrypto.so.3", CRPIE_OPTIONAL)
CRPIE_IMPORT_AS(version, __typeof__(OpenSSL_version_num), "OpenSSL_version_num@OPENSSL_3.0.0", "libcrypto.so.3",
		CRPIE_OPTIONAL)
CRPIE_IMPORT(getpid, "libc.so.6", CRPIE_REQUIRED)
CRPIE_IMPORT(environ, "libc.so.6", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(renew, int(int), "renew", "", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(generation, volatile int, "generation", "", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(absent, int(void), "_ZN4game7shuffleEl", "libcrypto.so.3", CRPIE_OPTIONAL)

/* The slots are filled before the first call. */
static int init(int stage)
{
	(void)stage;
	return crpie_import_getpid == NULL || renew == NULL || generation == NULL || absent != NULL ? -EFAULT : 0;
}
CR_PLUGIN_REGISTER("imports", init, NULL)

static int use(struct crpie_ctx *ctx)
{
	if (crpie_import_getpid() != ctx->pid || *generation != 5 || renew(2) != 7 || *crpie_import_environ == NULL)
		return -EIO;
	if (version == NULL) {
		pr_info(ctx, "no libcrypto, environ begins with %s", **crpie_import_environ);
		return crpie_import_RAND_poll == NULL ? 0 : -EFAULT;
	}
	if (crpie_import_RAND_poll() != 1)
		return -EIO;
	pr_info(ctx, "libcrypto %lx polled, environ begins with %s", version() >> 28, **crpie_import_environ);
	return 0;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, use)
