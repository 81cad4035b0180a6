/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spoil: leaves in a register, or in a timer, what must not be there: reg=NAME,value=N or timer=NAME. With notsup=yes
 * the hook for timers returns -ENOTSUP.
 */
#include <crpie/param.h>
#include <crpie/regs.h>
#include <crpie/string.h>

static uint64_t *register_named(struct crpie_regs *r, const char *name)
{
	static const char names[][8] = { "ax",      "bx",      "cx",  "dx",  "si",  "di",  "bp",  "sp", "r8",
					 "r9",      "r10",     "r11", "r12", "r13", "r14", "r15", "ip", "flags",
					 "fs_base", "gs_base", "cs",  "ss",  "ds",  "es",  "fs",  "gs", "syscall" };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (crpie_strcmp(name, names[i]) == 0)
			return (uint64_t *)r + i;
	return NULL;
}

static int spoil_thread(struct crpie_ctx *ctx)
{
	const char *name = crpie_param(ctx, "reg");
	uint64_t value = 0, *reg;

	if (name == NULL)
		return -ENOTSUP;
	reg = register_named(crpie_regs(ctx), name);
	if (reg == NULL || crpie_param_u64(ctx, "value", 0, UINT64_MAX, &value) != 0)
		return -ENOENT;
	*reg = crpie_strcmp(name, "flags") == 0 ? *reg ^ value : value;
	return 0;
}

static int spoil_task(struct crpie_ctx *ctx)
{
	const char *name = crpie_param(ctx, "timer");

	if (name == NULL)
		return -ENOTSUP;
	if (ctx->nr_timers == 0)
		return -ENOENT;
	ctx->timers[0].kind ^= crpie_strcmp(name, "kind") == 0;
	ctx->timers[0].id ^= crpie_strcmp(name, "id") == 0;
	ctx->timers[0].clock ^= crpie_strcmp(name, "clock") == 0;
	if (crpie_strcmp(name, "remaining") == 0)
		ctx->timers[0].remaining_ns = -1;
	if (crpie_strcmp(name, "interval") == 0)
		ctx->timers[0].interval_ns = INT64_MIN;
	return crpie_param(ctx, "notsup") != NULL ? -ENOTSUP : 0;
}

CR_PLUGIN_REGISTER_DUMMY("spoil")
CRPIE_PARAM_STR("reg", CRPIE_OPTIONAL, "name of a register")
CRPIE_PARAM_INT("value", CRPIE_OPTIONAL, 0, UINT64_MAX, "what it is to have; of flags, the bits that change")
CRPIE_PARAM_ENUM("timer", CRPIE_OPTIONAL, "kind id clock remaining interval", "what of the first timer")
CRPIE_PARAM_STR("notsup", CRPIE_OPTIONAL, "yes: the hook returns -ENOTSUP")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, spoil_thread)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, spoil_task)
