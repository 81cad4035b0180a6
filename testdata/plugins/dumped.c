/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dumped: overwrites the value of a variable in the environment around a dump, and shows where it is run otherwise.
 *
 *	var=NAME     the variable: at PIE_DMP_PRE_DUMP its value becomes d, at PIE_DMP_RESUMED r, in a restore s
 *	fail=NAME    PIE_DMP_PRE_DUMP returns -EIO in tasks of that name, after the change
 */
#include <crpie/env.h>
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>

CRPIE_PARAM_STR("var", CRPIE_REQUIRED, "variable to overwrite")
CRPIE_PARAM_STR("fail", CRPIE_OPTIONAL, "name of tasks in which it fails")

static int told = -1;

static int overwrite(struct crpie_ctx *ctx, char with)
{
	struct crpie_env env;
	int err = crpie_env_find(ctx, crpie_param(ctx, "var"), &env);

	for (size_t i = 0; err == 0 && i < env.value_len; i++)
		env.value[i] = with;
	pr_info(ctx, "wrote %c, init was told %d", with, told);
	return err == -ENOENT ? -ENOTSUP : err;
}

static int init(int stage)
{
	told = stage;
	return 0;
}

#ifndef ONLY_RESUMED
static int before(struct crpie_ctx *ctx)
{
	const char *fail = crpie_param(ctx, "fail");
	int err = overwrite(ctx, 'd');

	if (fail != NULL && crpie_strcmp(fail, ctx->comm) == 0)
		return -EIO;
	return err;
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_DMP_PRE_DUMP, before)
#endif

static int after(struct crpie_ctx *ctx)
{
	return overwrite(ctx, 'r');
}

CR_PLUGIN_REGISTER("dumped", init, NULL)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_DMP_RESUMED, after)
#ifndef ONLY_AROUND_DUMP
static int restored(struct crpie_ctx *ctx)
{
	return overwrite(ctx, 's');
}
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, restored)
#endif
