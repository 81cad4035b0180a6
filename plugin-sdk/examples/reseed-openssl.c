/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reseed-openssl: has OpenSSL 3 of each restored clone take fresh randomness from the kernel.
 *
 *	crpie restore -D images --pie-plugin reseed-openssl.o
 *	crpie restore -D images --pie-plugin reseed-openssl.o,select=comm:server
 *
 * RAND_poll is found in the libcrypto.so.3 that the program maps, before a process exists; a program without it goes on
 * as it is. The caveat of reseed.c holds: code of the program is called while the program stands wherever it was
 * dumped, so that a thread that was dumped inside OpenSSL may hold the lock. Then --pie-timeout undoes the restore.
 */
#include <crpie/log.h>
#include <crpie/plugin.h>
#include <crpie/symbols.h>

int RAND_poll(void); /* <openssl/rand.h> */

CR_PLUGIN_REGISTER_DUMMY("reseed-openssl")
CRPIE_NO_PARAMS
CRPIE_IMPORT(RAND_poll, "libcrypto.so.3", CRPIE_OPTIONAL)

static int poll(struct crpie_ctx *ctx)
{
	int *err = crpie_errno(ctx), kept = err != NULL ? *err : 0, done;

	if (crpie_import_RAND_poll == NULL)
		return -ENOTSUP;
	done = crpie_import_RAND_poll();
	if (err != NULL)
		*err = kept;
	if (done != 1) {
		pr_err(ctx, "RAND_poll fails");
		return -EIO;
	}
	pr_info(ctx, "OpenSSL has taken new randomness");
	return 0;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, poll)
