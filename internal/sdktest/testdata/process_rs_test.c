/* SPDX-License-Identifier: Apache-2.0 */
/* Runs process.rs, which is linked with it and finds this process's symbols, descriptors and environment. */
#define _GNU_SOURCE
#include <crpie/test.h>
#include <dlfcn.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define STAGE(name) CR_PLUGIN_HOOK__PIE_RST_##name

static volatile char hidden_variable[12] = "hidden";

static void number(struct crpie_test *t, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	crpie_test_param(t, key, text);
}

static void finds_symbols(void)
{
	struct crpie_test t;

	crpie_test_begin(&t, "worker");
	number(&t, "strverscmp", (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "strverscmp"));
	number(&t, "hidden", (uint64_t)(uintptr_t)hidden_variable);
	CRPIE_EXPECT(crpie_test_run(&t, STAGE(POST_MEMORY)) == 0);
	crpie_test_end(&t);
}

static void walks_descriptors(void)
{
	struct crpie_test t;
	int fds[30], i; /* a getdents64 gives fewer than these */

	for (i = 0; i < 30; i++)
		fds[i] = dup2(memfd_create("walked", 0), 200 + i);
	crpie_test_begin(&t, "worker");
	number(&t, "first", fds[0]);
	number(&t, "last", fds[29]);
	CRPIE_EXPECT(fds[29] == 229 && crpie_test_run(&t, STAGE(POST_FILES)) == 0);
	crpie_test_end(&t);
	for (i = 0; i < 30; i++)
		close(fds[i]);
}

static void sets_variables(void)
{
	struct crpie_test t;

	setenv("GROWN", "short", 1);
	crpie_test_begin(&t, "worker");
	CRPIE_EXPECT(crpie_test_run(&t, STAGE(POST_THREADS)) == 0);
	CRPIE_EXPECT(strlen(getenv("GROWN")) == 5000 && strspn(getenv("GROWN"), "x") == 5000);
	CRPIE_EXPECT(strcmp(getenv("NEW1"), "1") == 0 && strcmp(getenv("NEW2"), "") == 0 && getenv("HOME") != NULL);
	CRPIE_EXPECT(setenv("NEW3", "libc's", 1) == 0 && unsetenv("NEW1") == 0 && getenv("NEW1") == NULL);
	crpie_test_end(&t);
}

static void leaves_errno_and_memory(void)
{
	struct crpie_test t;
	char *kept;

	crpie_test_begin(&t, "worker");
	errno = EDOM;
	CRPIE_EXPECT(crpie_test_run(&t, STAGE(PRE_SIGRETURN)) == 0);
	CRPIE_EXPECT(errno == EIO);
	kept = strstr(t.log, "kept 0x");
	CRPIE_EXPECT(kept != NULL && memcmp((void *)(uintptr_t)strtoull(kept + 5, NULL, 16), "stays", 6) == 0);
	crpie_test_end(&t);
}

int main(void)
{
	finds_symbols();
	walks_descriptors();
	setenv("HOME", "/", 1);
	sets_variables();
	leaves_errno_and_memory();
	return crpie_test_result();
}
