/* SPDX-License-Identifier: Apache-2.0 */
/* Runs unit.rs, which is linked with it; with an argument its hook that panics. */
#include <crpie/test.h>

#define LATE CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN

static void expect_line(const struct crpie_test *t, const char *line)
{
	CRPIE_EXPECT(crpie_test_logged(t, line));
	if (!crpie_test_logged(t, line))
		fprintf(stderr, "no line \"%s\"\n", line);
}

static void tells_what_the_context_has(void)
{
	struct crpie_test t;
	char want[200];

	crpie_test_begin(&t, "wor\xffker");
	crpie_test_param(&t, "int", "0x2a");
	crpie_test_param(&t, "size", "3K");
	crpie_test_param(&t, "flag", "off");
	t.ctx.nr_threads = 3;
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == 0);
	expect_line(&t, "info: init 0xf0\ninfo: stage 0x106");
	snprintf(want, sizeof(want), "info: stage 0x106 pid %d tid %d threads 3\n", t.ctx.pid, t.ctx.tid);
	expect_line(&t, want);
	snprintf(want, sizeof(want), "info: dumped %lld restored %lld\n", (long long)t.ctx.dump_time_ns,
		 (long long)t.ctx.restore_time_ns);
	expect_line(&t, want);
	expect_line(&t, "info: comm wor\xef\xbf\xbdker None plugin unit-rs\n");
	expect_line(&t, "info: text Some(\"a default\") int Some(42) size Some(3072) flag Some(false) none None\n");
	expect_line(&t, "warn: own pid true float 0.33    42|ab  |\ndebug: long long ");
	expect_line(&t, " lon\ninfo: late\n"); /* cut, and after it the hook of priority 5 */
	crpie_test_end(&t);
}

static void changes_the_environment(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	crpie_test_env(&t, "A=");
	crpie_test_env(&t, "no variable");
	crpie_test_env(&t, "HOME=/root");
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY) == 0);
	expect_line(&t, "info: env A=\ninfo: env HOME=/root\ninfo: HOME Some(\"/root\") NONE None\n");
	CRPIE_EXPECT(memcmp(t.env + 15, "HOME=/\0\0\0\0", 11) == 0);
	crpie_test_end(&t);
}

static void asks_before_it_touches_memory(void)
{
	char *bytes = malloc(17), number[20];
	struct crpie_test t;

	snprintf(bytes, 17, "0123456789abcdef");
	snprintf(number, sizeof(number), "%lu", (unsigned long)(uintptr_t)bytes);
	crpie_test_begin(&t, "worker");
	crpie_test_unmap(&t, bytes, 17);
	crpie_test_map(&t, bytes, 16, CRPIE_PROT_READ | CRPIE_PROT_WRITE, "/some/file");
	crpie_test_param(&t, "addr", number);
	CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_FILES) == 0);
	CRPIE_EXPECT(strcmp(bytes, "1023456789abcdef") == 0);
	expect_line(&t, "info: read Err(Errno(14)) covers true false\ninfo: write Err(Errno(14))\n");
	expect_line(&t, " 16 Prot(3) 0x22 0 /some/file\n");
	crpie_test_end(&t);
	free(bytes);
}

static void returns_errors(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	crpie_test_param(&t, "fail", "95");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == 0); /* the other hook was for this task */
	crpie_test_param(&t, "fail", "5");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EIO);
	crpie_test_end(&t);
	crpie_test_begin(&t, "worker");
	crpie_test_param(&t, "flag", "yes");
	crpie_test_param(&t, "word", "one");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == -EINVAL);
	crpie_test_end(&t);
}

static int doubled(int i)
{
	return 2 * i;
}

static void calls_imports(void)
{
	struct crpie_test t;

	crpie_test_import("_Z5twicei", (const void *)(uintptr_t)doubled);
	crpie_test_begin(&t, "worker");
	CRPIE_EXPECT(crpie_test_run(&t, LATE) == 0);
	expect_line(&t, "info: late\ninfo: twice 8 true\n");
	crpie_test_end(&t);
}

static int panics(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	return crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_POST_THREADS);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return panics();
	tells_what_the_context_has();
	changes_the_environment();
	asks_before_it_touches_memory();
	returns_errors();
	calls_imports();
	return crpie_test_result();
}
