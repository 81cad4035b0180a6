/*
 * @NAME@: names the process anew. Change it into what you need.
 *
 *	crpie try ./hook.o,name=clone -- PROGRAM
 *
 * sdk/include/crpie has what there is instead of libc, sdk/examples what others look like.
 */
#include <linux/prctl.h>

#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/syscall.h>

static int hook(struct crpie_ctx *ctx)
{
	const char *name = crpie_param(ctx, "name");
	long err = sys_prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0);

	if (err != 0) {
		pr_perror(ctx, err, "cannot name %s anew", ctx->comm);
		return (int)err;
	}
	pr_info(ctx, "%s is now %s", ctx->comm, name);
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("@NAME@")
CRPIE_PARAM_STR("name", CRPIE_DEFAULT("restored"), "the new name of the process, 15 bytes of it")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
