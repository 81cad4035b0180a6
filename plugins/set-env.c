/* SPDX-License-Identifier: Apache-2.0 */
/*
 * set-env: sets variables of the program's environment, new ones and of any length, as getenv(3) finds them.
 *
 *	crpie restore -D images --pie-plugin set-env.o,set=DB_HOST=db-2,set=REGION=eu,uuid=INSTANCE_ID
 *	crpie restore -D images --pie-plugin set-env.o,file=NODE_NAME=/etc/hostname
 *
 * docs/plugins.md says which programs find them. The values are in no log.
 */
#include <crpie/setenv.h>

#include "ready.h"

#define NAME_MAX 255
#define VALUE_MAX 32768 /* of a file; others are as long as they are given */
#define UUID_LEN 36

/* A variable that a parameter names: NAME, or NAME=REST. */
struct variable {
	char name[NAME_MAX + 1];
	const char *rest; /* behind the '=', or NULL */
};

static int variable(const struct crpie_ctx *ctx, const struct crpie_param *p, struct variable *var)
{
	const char *equals = crpie_strchr(p->value, '=');
	size_t len = equals != NULL ? (size_t)(equals - p->value) : crpie_strlen(p->value);
	int is_uuid = crpie_strcmp(p->key, "uuid") == 0;

	if (len == 0 || len > NAME_MAX || is_uuid != (equals == NULL)) {
		pr_err(ctx, "%s: want %s=NAME%s, with a name of 1 to %d bytes", p->key, p->key,
		       is_uuid          ? "" :
		       p->key[0] == 'f' ? "=FILE" :
					  "=VALUE",
		       NAME_MAX);
		return -EINVAL;
	}
	crpie_strlcpy(var->name, p->value, len + 1);
	var->rest = equals != NULL ? equals + 1 : NULL;
	return 0;
}

/* RFC 9562, version 4: xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx with y one of 8, 9, a, b. */
static int random_uuid(char out[UUID_LEN + 1])
{
	unsigned char bytes[UUID_LEN];
	long ret = sys_getrandom(bytes, sizeof(bytes), 0);
	int i;

	if (ret != (long)sizeof(bytes))
		return ret < 0 ? (int)ret : -EIO;
	for (i = 0; i < UUID_LEN; i++)
		out[i] = "0123456789abcdef"[bytes[i] & 15];
	out[8] = out[13] = out[18] = out[23] = '-';
	out[14] = '4';
	out[19] = "89ab"[bytes[19] & 3];
	out[UUID_LEN] = '\0';
	return 0;
}

/* The value of var in *value, which is buf if it has to be made. */
static int value_of(const struct crpie_ctx *ctx, const char *kind, const struct variable *var, char *buf,
		    const char **value)
{
	int err = 0;

	*value = var->rest;
	if (crpie_strcmp(kind, "set") == 0)
		return 0;
	*value = buf;
	if (crpie_strcmp(kind, "uuid") == 0)
		err = random_uuid(buf);
	else
		err = crpie_param_file(var->rest, buf, VALUE_MAX);
	if (err == CRPIE_PARAM_NODATA)
		pr_err(ctx, "cannot set %s: %s is empty", var->name, var->rest);
	else if (err == CRPIE_PARAM_NOTFILE)
		pr_err(ctx, "cannot set %s: %s is not a regular file", var->name, var->rest);
	else if (err != 0)
		pr_perror(ctx, err, "cannot set %s from %s", var->name, var->rest != NULL ? var->rest : "getrandom");
	return err;
}

/* -ESRCH: no libc, or one in a static program without symbols. */
static int set_one(const struct crpie_ctx *ctx, const struct crpie_param *p)
{
	static char buf[VALUE_MAX];
	struct variable var;
	const char *value;
	int err = variable(ctx, p, &var);

	if (err == 0)
		err = value_of(ctx, p->key, &var, buf, &value);
	if (err != 0)
		return err;
	err = crpie_setenv(ctx, var.name, value);
	if (err == 0)
		pr_info(ctx, "%s is set", var.name);
	else if (err != -ESRCH)
		pr_perror(ctx, err, "cannot set %s", var.name);
	return err;
}

static int set_all(struct crpie_ctx *ctx)
{
	unsigned int nr = 0;
	uint64_t i;
	int err = 0;

	for (i = 0; err == 0 && i < ctx->nr_params; i++) {
		if (crpie_strcmp(ctx->params[i].key, "missing") == 0)
			continue;
		err = set_one(ctx, &ctx->params[i]);
		nr++;
	}
	if (err == -ESRCH) {
		pr_lack(ctx, "%s has no variable environ: no libc, as in Go, or a static one without symbols",
			ctx->comm);
		return ready_missing(ctx);
	}
	if (nr == 0) {
		pr_err(ctx, "which variable? set=NAME=VALUE, file=NAME=FILE or uuid=NAME");
		return -EINVAL;
	}
	return err;
}

CR_PLUGIN_REGISTER_DUMMY("set-env")
CRPIE_PARAM_STR("set", CRPIE_OPTIONAL, "NAME=VALUE; can be given several times, as the next two")
CRPIE_PARAM_STR("file", CRPIE_OPTIONAL, "NAME=FILE: what the file holds in the task, without a newline at its end")
CRPIE_PARAM_STR("uuid", CRPIE_OPTIONAL, "NAME: a random UUID")
READY_MISSING
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, set_all)
