/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What <crpie/test.h> does beside crpie: order of hooks, init and exit, declared parameters, mappings. With an argument
 * it makes the mistake of that name, which has to end it.
 */
#include <crpie/test.h>

#include <crpie/env.h>
#include <crpie/log.h>
#include <crpie/symbols.h>

static int inits, exits, unfit;
static int order[8], nr;
int exported = 7;

static int note(struct crpie_ctx *ctx, int what)
{
	if (ctx->hook == CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN && nr < 8)
		order[nr++] = what;
	return crpie_param(ctx, "fail") ? (int)-crpie_strlen(crpie_param(ctx, "fail")) : 0;
}

static int start(int stage, struct crpie_ctx *ctx)
{
	inits += stage == CR_PLUGIN_STAGE__RESTORE && ctx->hook == CRPIE_HOOK_INIT;
	return unfit ? -ENOTSUP : 0;
}

static void stop(int stage, int ret, struct crpie_ctx *ctx)
{
	exits += stage == CR_PLUGIN_STAGE__RESTORE && ret == 0 && ctx->hook == CRPIE_HOOK_EXIT;
}

static int first(struct crpie_ctx *ctx)
{
	return note(ctx, 1);
}
static int second(struct crpie_ctx *ctx)
{
	return note(ctx, 2);
}
static int third(struct crpie_ctx *ctx)
{
	return note(ctx, 3);
}
static int others(struct crpie_ctx *ctx)
{
	(void)ctx;
	return -ENOTSUP;
}
static int overflow(struct crpie_ctx *ctx)
{
	struct crpie_env env = { NULL, 0, NULL, 0 };

	crpie_env_next(ctx, &env);
	crpie_memset(env.value, 'x', env.value_len + 2);
	return 0;
}

CRPIE_IMPORT_AS(twice, int(int), "_Z5twicei@V1", "libtwice.so.1", CRPIE_OPTIONAL)
CRPIE_IMPORT(exported, "", CRPIE_REQUIRED)
CRPIE_PLUGIN_REGISTER_CTX("unit", start, stop)
CR_PLUGIN_REGISTER_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, third, 9)
CR_PLUGIN_REGISTER_HOOK_PRIO(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, first, -1)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, others)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, second)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, others)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_POST_FILES, overflow)
CRPIE_PARAM_STR("fail", CRPIE_OPTIONAL, "")
CRPIE_PARAM_INT("int", CRPIE_DEFAULT("5"), 1, 10, "")
CRPIE_PARAM_SIZE("size", CRPIE_OPTIONAL, 1, 1 << 20, "")
CRPIE_PARAM_BOOL("bool", CRPIE_OPTIONAL, "")
CRPIE_PARAM_ENUM("enum", CRPIE_OPTIONAL, "one two", "")
CRPIE_PARAM_ONE_OF("size bool", CRPIE_OPTIONAL)
CRPIE_PARAM_STR("secret", CRPIE_REQUIRED | CRPIE_IN_TASK, "")
CRPIE_PARAM_STR("token", CRPIE_IN_TASK, "")
CRPIE_PARAM_ONE_OF("token enum", CRPIE_OPTIONAL)

static void begin(struct crpie_test *t)
{
	crpie_test_begin(t, "worker");
	crpie_test_param(t, "secret", "x");
}

static int run_with(const char *key, const char *value)
{
	struct crpie_test t;
	int ret;

	begin(&t);
	crpie_test_param(&t, key, value);
	ret = crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN);
	crpie_test_end(&t);
	return ret;
}

static void runs_as_crpie_does(void)
{
	struct crpie_test t;

	begin(&t);
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY) == -ENOTSUP);
	crpie_test_end(&t);
	CRPIE_EXPECT(exits == 1); /* hooks that have nothing to do have not failed */
	inits = exits = 0;
	begin(&t);
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
	CRPIE_EXPECT(nr == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3);
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
	CRPIE_EXPECT(nr == 6 && inits == 1 && exits == 0);
	crpie_test_end(&t);
	CRPIE_EXPECT(exits == 1);
	begin(&t);
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS) == -ENOENT);
	crpie_test_end(&t);
	nr = 0;
	CRPIE_EXPECT(run_with("fail", "12345") == -5 && nr == 1 && exits == 1);
	unfit = 1;
	nr = 0;
	CRPIE_EXPECT(run_with("int", "1") == -ENOTSUP && nr == 0 && exits == 1);
	unfit = 0;
}

static void judges_parameters_as_crpie_does(void)
{
	static const char *const right[][2] = {
		{ "int", "0xa" }, { "size", "1M" }, { "bool", "off" }, { "enum", "two" }
	};
	static const char *const wrong[][2] = { { "int", "11" },     { "int", "x" },    { "size", "2M" },
						{ "bool", "maybe" }, { "enum", "six" }, { "other", "1" } };
	struct crpie_test t;
	unsigned int i;

	for (i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		CRPIE_EXPECT(run_with(right[i][0], right[i][1]) == 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CRPIE_EXPECT(run_with(wrong[i][0], wrong[i][1]) == -EINVAL);
	begin(&t);
	crpie_test_param(&t, "bool", "no");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
	CRPIE_EXPECT(crpie_strcmp(crpie_param(&t.ctx, "int"), "5") == 0);
	crpie_test_param(&t, "size", "1");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == -EINVAL);
	crpie_test_end(&t);
	begin(&t);
	crpie_test_param(&t, "enum", "one");
	crpie_test_param(&t, "token@", "/none");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == -EINVAL);
	crpie_test_end(&t);
}

/* Runs with secret from a file, and another parameter if key is not NULL. */
static int run_with_file(const char *file, const char *key, const char *value)
{
	struct crpie_test t;
	char text[16];
	int ret;

	crpie_test_begin(&t, "worker");
	crpie_test_param(&t, "secret@", file);
	if (key != NULL)
		crpie_test_param(&t, key, value);
	ret = crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN);
	if (ret == 0)
		CRPIE_EXPECT(crpie_param_read(&t.ctx, "secret", text, sizeof(text)) == 0 && *text != '\0');
	crpie_test_end(&t);
	return ret;
}

static void takes_values_from_files(void)
{
	CRPIE_EXPECT(run_with_file("/proc/self/comm", NULL, NULL) == 0);
	CRPIE_EXPECT(run_with_file("/proc/self/comm", "token@", "/none") == 0);
	CRPIE_EXPECT(run_with_file("/proc/self/comm", "int@", "/none") == -EINVAL); /* no CRPIE_IN_TASK */
	CRPIE_EXPECT(run_with_file("/proc/self/comm", "secret", "y") == -EINVAL);
	CRPIE_EXPECT(run_with("enum", "two") == 0 && run_with("token@", "/none") == 0);
	CRPIE_EXPECT(run_with_file("", NULL, NULL) == -EINVAL);
}

static void maps_and_unmaps(void)
{
	static char page[100];
	struct crpie_test t;
	uint64_t i, start = (uint64_t)(uintptr_t)page;

	begin(&t);
	CRPIE_EXPECT(crpie_vma_covers(&t.ctx, start, 100, CRPIE_PROT_READ | CRPIE_PROT_WRITE));
	CRPIE_EXPECT(crpie_symbol(&t.ctx, "exported") == (uint64_t)(uintptr_t)&exported);
	crpie_test_unmap(&t, page + 10, 10);
	CRPIE_EXPECT(crpie_vma_covers(&t.ctx, start, 10, CRPIE_PROT_WRITE));
	CRPIE_EXPECT(!crpie_vma_covers(&t.ctx, start, 11, CRPIE_PROT_READ));
	CRPIE_EXPECT(crpie_vma_covers(&t.ctx, start + 20, 80, CRPIE_PROT_WRITE));
	crpie_test_map(&t, page + 5, 50, CRPIE_PROT_READ, "/lib/some");
	CRPIE_EXPECT(crpie_vma_covers(&t.ctx, start, 100, CRPIE_PROT_READ));
	CRPIE_EXPECT(!crpie_vma_covers(&t.ctx, start, 6, CRPIE_PROT_WRITE));
	CRPIE_EXPECT(strcmp(crpie_vma_find(&t.ctx, start + 30)->name, "/lib/some") == 0);
	for (i = 1; i < t.ctx.nr_vmas; i++)
		CRPIE_EXPECT(t.ctx.vmas[i - 1].end <= t.ctx.vmas[i].start);
	crpie_test_end(&t);
}

static int mistake(const char *name)
{
	struct crpie_test t;

	begin(&t);
	crpie_test_env(&t, "A=b");
	if (strcmp(name, "overflow") == 0)
		crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_FILES);
	if (strcmp(name, "vmas") == 0)
		pr_info(&t.ctx, "%lx", t.ctx.vmas[t.ctx.nr_vmas].start);
	if (strcmp(name, "expectation") == 0)
		CRPIE_EXPECT(exported == 8);
	crpie_test_end(&t);
	return crpie_test_result();
}

static int doubled(int i)
{
	return 2 * i;
}

/* The pointers of imports are NULL until the test gives them an address. */
static void gives_imports_an_address(void)
{
	CRPIE_EXPECT(twice == NULL && crpie_import_exported == NULL);
	crpie_test_import("_Z5twice", (const void *)(uintptr_t)doubled); /* a part of a name is none */
	CRPIE_EXPECT(twice == NULL);
	crpie_test_import("_Z5twicei", (const void *)(uintptr_t)doubled);
	crpie_test_import("exported", &exported);
	CRPIE_EXPECT(twice != NULL && twice(4) == 8 && *crpie_import_exported == 7);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return mistake(argv[1]);
	runs_as_crpie_does();
	judges_parameters_as_crpie_does();
	takes_values_from_files();
	maps_and_unmaps();
	gives_imports_an_address();
	return crpie_test_result();
}
