/* SPDX-License-Identifier: Apache-2.0 */
/*
 * new-id: gives a restored clone an id of its own, in its environment block.
 *
 *	crpie restore -D images --pie-plugin new-id.o,var=INSTANCE_ID,value=web-0002
 *
 *	var=NAME      the variable; it must exist in the dumped program
 *	value=TEXT    the new value, not longer than the old one; without it the id is random; with value=@task:FILE
 *	              it is what FILE holds in the restored task, such as /etc/hostname
 *	format=uuid   a random UUID (default); the old value must have at least 36 bytes
 *	format=hex    random hexadecimal digits, as many as the old value has bytes
 *	missing=ok    a task without that variable is left alone; otherwise it is an error
 *
 * A program that copied the value before it was dumped keeps its copy: tell it with tell-app.
 */
#include <crpie/env.h>
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

#define UUID_LEN 36
#define VALUE_MAX 4096

static int random_hex(char *out, size_t n)
{
	unsigned char bytes[64];
	size_t i, have = 0;

	for (i = 0; i < n; i++) {
		if (have == 0) {
			long ret = sys_getrandom(bytes, sizeof(bytes), 0);
			if (ret <= 0)
				return ret < 0 ? (int)ret : -EIO;
			have = (size_t)ret;
		}
		out[i] = "0123456789abcdef"[bytes[--have] & 15];
	}
	out[n] = '\0';
	return 0;
}

/* RFC 9562, version 4: xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx with y one of 8, 9, a, b. */
static int random_uuid(char out[UUID_LEN + 1])
{
	int err = random_hex(out, UUID_LEN);

	if (err != 0)
		return err;
	out[8] = out[13] = out[18] = out[23] = '-';
	out[14] = '4';
	out[19] = "89ab"[out[19] & 3];
	return 0;
}

static int new_value(const struct crpie_ctx *ctx, const struct crpie_env *old, char *value)
{
	int err = crpie_param_read(ctx, "value", value, VALUE_MAX);

	if (err == 0 && *value == '\0') {
		pr_err(ctx, "value is empty: leave it out for a random one");
		return -EINVAL;
	}
	if (err != CRPIE_PARAM_NOTFOUND)
		return err;
	if (crpie_strcmp(crpie_param(ctx, "format"), "uuid") == 0)
		return random_uuid(value);
	return random_hex(value, old->value_len < VALUE_MAX ? old->value_len : VALUE_MAX - 1);
}

static int missing(const struct crpie_ctx *ctx, const char *var)
{
	if (crpie_param(ctx, "missing") != NULL)
		return -ENOTSUP;
	pr_err(ctx, "no variable %s in the environment of %s; was it set before the program started?", var, ctx->comm);
	return -ENOENT;
}

static int new_id(struct crpie_ctx *ctx)
{
	const char *var = crpie_param(ctx, "var");
	struct crpie_env old;
	char value[VALUE_MAX];
	int err = crpie_env_find(ctx, var, &old);

	if (err == -ENOENT)
		return missing(ctx, var);
	if (err == 0)
		err = new_value(ctx, &old, value);
	if (err == 0)
		err = crpie_env_replace(ctx, var, value);
	if (err == -ENAMETOOLONG)
		pr_err(ctx,
		       "the new value of %s is longer than the old one (%zu bytes): give a shorter one or format=hex",
		       var, old.value_len);
	else if (err != 0)
		pr_perror(ctx, err, "cannot set %s", var);
	else
		pr_info(ctx, "%s is now %s", var, value);
	return err;
}

CR_PLUGIN_REGISTER_DUMMY("new-id")
CRPIE_PARAM_STR("var", CRPIE_REQUIRED, "name of the environment variable")
CRPIE_PARAM_STR("value", CRPIE_IN_TASK, "the new value; default: a random one")
CRPIE_PARAM_ENUM("format", CRPIE_DEFAULT("uuid"), "uuid hex", "of a random value")
CRPIE_PARAM_ENUM("missing", CRPIE_OPTIONAL, "ok", "leave a task alone that has no such variable")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, new_id)
