/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of new-id: `make test` here builds this with sanitizers and runs it. */
#include <crpie/test.h>

#include "new-id.c"

#define LATE CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN

static void begin(struct crpie_test *t, const char *var)
{
	crpie_test_begin(t, "worker");
	crpie_test_env(t, "HOME=/root");
	crpie_test_env(t, "ID=0123456789abcdef");
	crpie_test_param(t, "var", var);
}

static void replaces_a_value(void)
{
	struct crpie_test t;

	begin(&t, "ID");
	crpie_test_param(&t, "value", "web-2");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == 0);
	CRPIE_EXPECT(strcmp(t.env, "HOME=/root") == 0 && strcmp(t.env + 11, "ID=web-2") == 0);
	CRPIE_EXPECT(crpie_test_logged(&t, "info: ID is now web-2"));
	crpie_test_end(&t);
}

static void makes_random_values(void)
{
	struct crpie_test t;

	begin(&t, "ID");
	crpie_test_param(&t, "format", "hex");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == 0);
	CRPIE_EXPECT(strncmp(t.env + 11, "ID=", 3) == 0 && strlen(t.env + 14) == 16);
	CRPIE_EXPECT(strcmp(t.env + 14, "0123456789abcdef") != 0);
	crpie_test_end(&t);
}

static void refuses_what_does_not_fit(void)
{
	struct crpie_test t;

	begin(&t, "ID"); /* 16 bytes, and a UUID has 36 */
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -ENAMETOOLONG);
	CRPIE_EXPECT(strcmp(t.env + 11, "ID=0123456789abcdef") == 0);
	CRPIE_EXPECT(crpie_test_logged(&t, "error: the new value of ID is longer than the old one (16 bytes)"));
	crpie_test_end(&t);
}

static void refuses_an_empty_value(void)
{
	struct crpie_test t;

	begin(&t, "ID");
	crpie_test_param(&t, "value", "");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EINVAL);
	CRPIE_EXPECT(strcmp(t.env + 11, "ID=0123456789abcdef") == 0);
	CRPIE_EXPECT(crpie_test_logged(&t, "error: value is empty"));
	crpie_test_end(&t);
}

static void asks_for_its_variable(void)
{
	struct crpie_test t;

	begin(&t, "NONE");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -ENOENT);
	crpie_test_end(&t);
	begin(&t, "NONE");
	crpie_test_param(&t, "missing", "ok");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -ENOTSUP);
	crpie_test_end(&t);
}

static void does_not_write_read_only_memory(void)
{
	struct crpie_test t;

	begin(&t, "ID");
	crpie_test_param(&t, "format", "hex");
	crpie_test_map(&t, t.env, t.env_len, CRPIE_PROT_READ, "[stack]");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EFAULT);
	crpie_test_end(&t);
}

static void its_parameters_are_declared(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EINVAL); /* var is missing */
	crpie_test_end(&t);
	begin(&t, "ID");
	crpie_test_param(&t, "format", "roman");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EINVAL);
	crpie_test_end(&t);
}

int main(void)
{
	replaces_a_value();
	makes_random_values();
	refuses_what_does_not_fit();
	refuses_an_empty_value();
	asks_for_its_variable();
	does_not_write_read_only_memory();
	its_parameters_are_declared();
	return crpie_test_result();
}
