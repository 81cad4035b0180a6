/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the code of the SDK's headers in an ordinary program, where a sanitizer can watch it, against libc's functions
 * and against this program itself. Prints each failed check; exits with 1 if there was any.
 */
#define _GNU_SOURCE 1
#define CRPIE_NO_LIBC_NAMES
#include <crpie/env.h>
#include <crpie/log.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/regs.h>
#include <crpie/string.h>
#include <crpie/symbols.h>
#include <crpie/symtab.h>
#include <crpie/syscall.h>
#include <crpie/vma.h>

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(struct crpie_elf_ehdr) == sizeof(Elf64_Ehdr) &&
		       sizeof(struct crpie_elf_phdr) == sizeof(Elf64_Phdr) &&
		       sizeof(struct crpie_elf_shdr) == sizeof(Elf64_Shdr) &&
		       sizeof(struct crpie_elf_sym) == sizeof(Elf64_Sym) &&
		       sizeof(struct crpie_elf_dyn) == sizeof(Elf64_Dyn),
	       "crpie/elf.h and elf.h disagree");

static int failures, checks;

#define CHECK(cond, ...)                                                                                               \
	do {                                                                                                           \
		checks++;                                                                                              \
		if (!(cond)) {                                                                                         \
			failures++;                                                                                    \
			printf("harness.c:%d: %s: ", __LINE__, #cond);                                                 \
			printf(__VA_ARGS__);                                                                           \
			printf("\n");                                                                                  \
		}                                                                                                      \
	} while (0)

/* Compares with libc's snprintf, into buffers of every size around the result's. */
#define SAME(...)                                                                                                      \
	do {                                                                                                           \
		char want[300], got[300];                                                                              \
		size_t n = (size_t)snprintf(want, sizeof(want), __VA_ARGS__), size;                                    \
		size_t m = crpie_snprintf(got, sizeof(got), __VA_ARGS__);                                              \
		CHECK(n == m && strcmp(want, got) == 0, "want \"%s\" (%zu), got \"%s\" (%zu)", want, n, got, m);       \
		for (size = 0; size <= n + 1; size++) {                                                                \
			char *a = malloc(size + 1), *b = malloc(size + 1);                                             \
			memset(a, '#', size + 1);                                                                      \
			memset(b, '#', size + 1);                                                                      \
			snprintf(a, size, __VA_ARGS__);                                                                \
			crpie_snprintf(b, size, __VA_ARGS__);                                                          \
			CHECK(memcmp(a, b, size + 1) == 0, "\"%s\" cut to %zu bytes", want, size);                     \
			free(a);                                                                                       \
			free(b);                                                                                       \
		}                                                                                                      \
	} while (0)

static void test_printf(void)
{
	static const int ints[] = { 0, 1, -1, 9, 10, 255, -4095, INT_MAX, INT_MIN };
	static const long longs[] = { 0, -1, LONG_MAX, LONG_MIN, 0x123456789abcdef };
	unsigned int i;

	for (i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		SAME("%d|%i|%u|%x|%X|%o", ints[i], ints[i], (unsigned)ints[i], (unsigned)ints[i], (unsigned)ints[i],
		     (unsigned)ints[i]);
		SAME("%5d|%-5d|%05d|%+d|%.3d|%8.3d|%-8.3d|%08.3x|%+05d|%.0d", ints[i], ints[i], ints[i], ints[i],
		     ints[i], ints[i], ints[i], (unsigned)ints[i], ints[i], ints[i]);
		SAME("%hd|%hhd|%hu|%hhu|%*d|%-*d|%.*d", (short)ints[i], (signed char)ints[i], (unsigned short)ints[i],
		     (unsigned char)ints[i], 7, ints[i], 7, ints[i], 2, ints[i]);
	}
	for (i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
		SAME("%ld|%lu|%lx|%lo|%lX", longs[i], (unsigned long)longs[i], (unsigned long)longs[i],
		     (unsigned long)longs[i], (unsigned long)longs[i]);
		SAME("%lld|%llu|%llx|%zu|%zd|%jd|%td|%25ld|%025ld", (long long)longs[i], (unsigned long long)longs[i],
		     (unsigned long long)longs[i], (size_t)longs[i], (ssize_t)longs[i], (intmax_t)longs[i],
		     (ptrdiff_t)longs[i], longs[i], longs[i]);
	}
	SAME("%s|%10s|%-10s|%.2s|%.10s|%*.*s|%c|%3c|%-3c|%%", "text", "text", "text", "text", "text", 6, 3, "text", 'x',
	     'y', 'z');
	SAME("%s", "");
	SAME("%p|%20p", (void *)&ints, (void *)&longs);
	SAME("plain %d%% of %s\n", 5, "it");
	{
		char out[32], unterminated[3] = { 'a', 'b', 'c' };
		CHECK(crpie_snprintf(out, sizeof(out), "%.*s", 3, unterminated) == 3, "%s", out);
		CHECK(crpie_snprintf(out, sizeof(out), "%s", (const char *)NULL) == 6, "%s", out);
	}
}

/* What no compiler would let through as a literal. */
static void test_bad_formats(void)
{
	static const char *const formats[] = { "%", "%5", "%-", "%l", "%.", "%q", "100%", "%!d", "%99999999999d" };
	static const char *const results[] = { "%", "%5", "%-", "%l", "%.", "%q", "100%", "%!d", NULL };
	unsigned int i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const char *volatile format = formats[i];
		char out[32];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		crpie_snprintf(out, sizeof(out), format, 1);
#pragma GCC diagnostic pop
		CHECK(results[i] == NULL || strcmp(out, results[i]) == 0, "%s became %s", formats[i], out);
	}
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void test_string(void)
{
	char a[64], b[64], c[64];
	unsigned int round, i;

	srand(1);
	for (round = 0; round < 2000; round++) {
		size_t n = (size_t)rand() % 24, from = (size_t)rand() % 20, to = (size_t)rand() % 20;

		for (i = 0; i < sizeof(a); i++)
			a[i] = b[i] = (char)(rand() % 3);
		memmove(a + to, a + from, n);
		CHECK(crpie_memmove(b + to, b + from, n) == b + to, "returns its argument");
		CHECK(memcmp(a, b, sizeof(a)) == 0, "memmove %zu -> %zu, %zu bytes", from, to, n);
		memset(a + to, round & 0xff, n);
		crpie_memset(b + to, round & 0xff, n);
		CHECK(memcmp(a, b, sizeof(a)) == 0, "memset");
		crpie_memcpy(c, a, sizeof(a));
		CHECK(memcmp(a, c, sizeof(a)) == 0, "memcpy");
		CHECK(sign(crpie_memcmp(a + to, a + from, n)) == sign(memcmp(a + to, a + from, n)), "memcmp");
		CHECK(crpie_memchr(a, 2, n) == memchr(a, 2, n), "memchr");
		a[63] = b[63] = '\0';
		CHECK(crpie_strlen(a + to) == strlen(a + to), "strlen");
		CHECK(crpie_strnlen(a + to, n) == strnlen(a + to, n), "strnlen");
		CHECK(sign(crpie_strcmp(a + to, a + from)) == sign(strcmp(a + to, a + from)), "strcmp");
		CHECK(sign(crpie_strncmp(a + to, a + from, n)) == sign(strncmp(a + to, a + from, n)), "strncmp");
		CHECK(crpie_strchr(a + to, round % 3) == strchr(a + to, (int)(round % 3)), "strchr");
		CHECK(crpie_strrchr(a + to, round % 3) == strrchr(a + to, (int)(round % 3)), "strrchr");
	}
	CHECK(crpie_strlcpy(a, "hello", 3) == 5 && strcmp(a, "he") == 0, "%s", a);
	CHECK(crpie_strlcpy(a, "hello", 6) == 5 && strcmp(a, "hello") == 0, "%s", a);
	CHECK(crpie_strcmp("\x80", "a") > 0, "bytes are compared unsigned");
}

static struct crpie_mm mm;
static char logged[CRPIE_LOG_LINE_MAX + 1];
static uint64_t logged_len;
static uint32_t logged_level;

static void keep_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len)
{
	(void)ctx;
	logged_level = level;
	logged_len = len;
	memcpy(logged, msg, len);
	logged[len] = '\0';
}

static void test_log(struct crpie_ctx *ctx)
{
	static char longest[3000];

	pr_info(ctx, "plain\n");
	CHECK(strcmp(logged, "plain") == 0 && logged_level == CRPIE_LOG_INFO, "%s", logged);
	pr_err(ctx, "%d of %s", 3, "four");
	CHECK(strcmp(logged, "3 of four") == 0 && logged_level == CRPIE_LOG_ERROR, "%s", logged);
	pr_perror(ctx, -2, "open %s\n", "/x");
	CHECK(strcmp(logged, "open /x: ENOENT (-2)") == 0, "%s", logged);
	memset(longest, 'x', sizeof(longest) - 1);
	pr_warn(ctx, "%s", longest);
	CHECK(logged_len == CRPIE_LOG_LINE_MAX - 1, "%lu", (unsigned long)logged_len);
	pr_perror(ctx, -2, "%s", longest);
	CHECK(logged_len == CRPIE_LOG_LINE_MAX - 1, "%lu", (unsigned long)logged_len);
}

static int read_back(const char *text, size_t len, char *buf, size_t size)
{
	char path[64];
	struct crpie_param param = { "id@", path };
	struct crpie_ctx ctx = { .params = &param, .nr_params = 1, .plugin = "p", .log = keep_log };
	int fd = memfd_create("value", 0), err;

	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len, "memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = crpie_param_read(&ctx, "id", buf, size);
	close(fd);
	return err;
}

static void test_param_read(void)
{
	struct crpie_param param = { "id@", "/none" };
	struct crpie_ctx absent = { .params = &param, .nr_params = 1, .plugin = "p", .log = keep_log };
	char buf[5], fifo[64];
	const char *const others[] = { fifo, "/dev/null", "/dev/zero", "/" };
	size_t i;

	CHECK(read_back("abcd\n", 5, buf, 5) == 0 && strcmp(buf, "abcd") == 0, "%s", buf);
	CHECK(read_back("abcd", 4, buf, 5) == 0 && strcmp(buf, "abcd") == 0, "%s", buf);
	CHECK(read_back("a\n\n", 3, buf, 5) == 0 && strcmp(buf, "a\n") == 0, "%s", buf);
	CHECK(read_back("", 0, buf, 5) == CRPIE_PARAM_NODATA && strstr(logged, "it is empty"), "%s", logged);
	CHECK(read_back("\n", 1, buf, 5) == CRPIE_PARAM_NODATA, "an empty line");
	CHECK(read_back("abcde", 5, buf, 5) == CRPIE_PARAM_TOOLONG, "no room for the NUL");
	CHECK(read_back("abcd\n\n", 6, buf, 5) == CRPIE_PARAM_TOOLONG, "a second newline");
	CHECK(crpie_param_read(&absent, "id", buf, 5) == CRPIE_PARAM_NODATA, "a file that is not there");
	snprintf(fifo, sizeof(fifo), "/tmp/crpie-harness-%d", getpid());
	CHECK(mkfifo(fifo, 0600) == 0, "mkfifo");
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		param.value = others[i];
		CHECK(crpie_param_read(&absent, "id", buf, 5) == CRPIE_PARAM_NOTFILE, "%s", others[i]);
		CHECK(strstr(logged, "it is not a regular file") != NULL, "%s", logged);
	}
	unlink(fifo);
	CHECK(crpie_param_read(&absent, "none", buf, 5) == CRPIE_PARAM_NOTFOUND, "not given");
	CHECK(read_back("a\0b", 3, buf, 5) == CRPIE_PARAM_INVALID, "a NUL");
}

static void test_params(struct crpie_ctx *ctx)
{
	static const struct crpie_param file = { "id@", "/run/id" };
	static const struct crpie_ctx in_task = { .params = &file, .nr_params = 1 };
	static const struct crpie_param params[] = {
		{ "n", "17" },
		{ "hex", "0xfF" },
		{ "max", "18446744073709551615" },
		{ "over", "18446744073709551616" },
		{ "junk", "12x" },
		{ "empty", "" },
		{ "size", "3k" },
		{ "big", "17000000T" },
		{ "neg", "-1" },
		{ "on", "yes" },
		{ "off", "false" },
		{ "text", "hello" },
		{ "twice", "first" },
		{ "twice", "last" },
	};
	uint64_t v = 99;
	char buf[6];
	int flag = -1;

	ctx->params = params;
	ctx->nr_params = sizeof(params) / sizeof(params[0]);
	CHECK(crpie_param_u64(ctx, "n", 0, 17, &v) == 0 && v == 17, "%lu", (unsigned long)v);
	CHECK(crpie_param_u64(ctx, "hex", 0, 255, &v) == 0 && v == 255, "%lu", (unsigned long)v);
	CHECK(crpie_param_u64(ctx, "max", 0, UINT64_MAX, &v) == 0 && v == UINT64_MAX, "%lu", (unsigned long)v);
	v = 99;
	CHECK(crpie_param_u64(ctx, "n", 0, 16, &v) == CRPIE_PARAM_RANGE, "above");
	CHECK(crpie_param_u64(ctx, "n", 18, 20, &v) == CRPIE_PARAM_RANGE, "below");
	CHECK(crpie_param_u64(ctx, "over", 0, UINT64_MAX, &v) == CRPIE_PARAM_RANGE, "65 bits");
	CHECK(crpie_param_u64(ctx, "junk", 0, 99, &v) == CRPIE_PARAM_INVALID, "junk");
	CHECK(crpie_param_u64(ctx, "neg", 0, 99, &v) == CRPIE_PARAM_INVALID, "sign");
	CHECK(crpie_param_u64(ctx, "empty", 0, 99, &v) == CRPIE_PARAM_INVALID, "empty");
	CHECK(crpie_param_u64(ctx, "absent", 0, 99, &v) == CRPIE_PARAM_NOTFOUND && v == 99, "absent");
	CHECK(crpie_param_size(ctx, "size", 0, 1 << 20, &v) == 0 && v == 3072, "%lu", (unsigned long)v);
	CHECK(crpie_param_size(ctx, "n", 0, 1 << 20, &v) == 0 && v == 17, "%lu", (unsigned long)v);
	CHECK(crpie_param_size(ctx, "big", 0, UINT64_MAX, &v) == CRPIE_PARAM_RANGE, "big");
	CHECK(crpie_param_size(ctx, "junk", 0, UINT64_MAX, &v) == CRPIE_PARAM_INVALID, "junk");
	CHECK(crpie_param_bool(ctx, "on", &flag) == 0 && flag == 1, "%d", flag);
	CHECK(crpie_param_bool(ctx, "off", &flag) == 0 && flag == 0, "%d", flag);
	CHECK(crpie_param_bool(ctx, "empty", &flag) == 0 && flag == 1, "%d", flag);
	CHECK(crpie_param_bool(ctx, "n", &flag) == CRPIE_PARAM_INVALID, "not a bool");
	CHECK(crpie_param_string(ctx, "text", buf, 6) == 0 && strcmp(buf, "hello") == 0, "%s", buf);
	CHECK(crpie_param_string(ctx, "text", buf, 5) == CRPIE_PARAM_TOOLONG, "no room for the NUL");
	test_param_read();
	CHECK(strcmp(crpie_param(ctx, "twice"), "last") == 0, "the last one counts");
	ctx->nr_params = 2;
	CHECK(crpie_param_unknown(ctx, "hex n") == NULL, "all known");
	CHECK(strcmp(crpie_param_unknown(ctx, "hexn he x n"), "hex") == 0, "parts of words do not count");
	CHECK(strcmp(crpie_param_unknown(ctx, ""), "n") == 0, "nothing known");
	CHECK(crpie_param_unknown(&in_task, "n id") == NULL, "the @ of a value read in the task");
	ctx->nr_params = 0;
}

static void test_env(struct crpie_ctx *ctx)
{
	static char block[] __attribute__((aligned(4096))) = "A=1\0ID=12345\0NOEQ\0EMPTY=\0IDX=9\0UNTERMINATED=x";
	struct crpie_vma vma = { 0, 0, CRPIE_PROT_READ | CRPIE_PROT_WRITE, 0, 0, "[stack]" };
	const struct crpie_vma *vmas = ctx->vmas;
	uint64_t nr = ctx->nr_vmas;
	struct crpie_env env = { NULL, 0, NULL, 0 };
	int n = 0;

	vma.start = mm.env_start = (uint64_t)(uintptr_t)block;
	vma.end = mm.env_end = vma.start + sizeof(block) - 1; /* the last string lost its NUL */
	ctx->vmas = &vma;
	ctx->nr_vmas = 1;
	while (crpie_env_next(ctx, &env) == 1)
		n++;
	CHECK(n == 4, "%d strings", n);
	CHECK(crpie_env_find(ctx, "ID", &env) == 0 && env.value_len == 5 && memcmp(env.value, "12345", 6) == 0, "ID");
	CHECK(crpie_env_find(ctx, "EMPTY", &env) == 0 && env.value_len == 0, "EMPTY");
	CHECK(crpie_env_find(ctx, "I", &env) == -ENOENT && crpie_env_find(ctx, "NOEQ", &env) == -ENOENT, "absent");
	CHECK(crpie_env_find(ctx, "UNTERMINATED", &env) == -ENOENT, "unterminated");
	CHECK(crpie_env_replace(ctx, "ID", "123456") == -ENAMETOOLONG, "longer");
	CHECK(memcmp(block, "A=1\0ID=12345", 13) == 0, "changed nothing");
	CHECK(crpie_env_replace(ctx, "ID", "abcde") == 0 && memcmp(block, "A=1\0ID=abcde\0NOEQ", 18) == 0,
	      "same length");
	CHECK(crpie_env_replace(ctx, "ID", "z") == 0 && memcmp(block, "A=1\0ID=z\0\0\0\0\0NOEQ", 18) == 0, "shorter");
	CHECK(crpie_env_find(ctx, "IDX", &env) == 0, "found behind the NULs");
	vma.prot = CRPIE_PROT_READ;
	CHECK(crpie_env_replace(ctx, "ID", "y") == -EFAULT, "read-only");
	vma.end -= 8;
	CHECK(crpie_env_find(ctx, "A", &env) == -EFAULT, "block sticks out of its mapping");
	mm.env_end = mm.env_start - 1;
	CHECK(crpie_env_find(ctx, "A", &env) == -EFAULT, "end before start");
	ctx->vmas = vmas;
	ctx->nr_vmas = nr;
}

static void test_vma(struct crpie_ctx *ctx)
{
	static const struct crpie_vma two[] = {
		{ 0x1000, 0x3000, 3, 0, 0, "" },
		{ 0x3000, 0x4000, 1, 0, 0, "" },
		{ 0x8000, 0x9000, 0, 0, 0, "" },
	};
	struct crpie_ctx c = *ctx;

	c.vmas = two;
	c.nr_vmas = 3;
	CHECK(crpie_vma_find(&c, 0xfff) == NULL && crpie_vma_find(&c, 0x1000) == &two[0], "start");
	CHECK(crpie_vma_find(&c, 0x3fff) == &two[1] && crpie_vma_find(&c, 0x4000) == NULL, "end");
	CHECK(crpie_vma_find(&c, 0x9000) == NULL && crpie_vma_find(&c, UINT64_MAX) == NULL, "behind all");
	CHECK(crpie_vma_covers(&c, 0x2ff8, 16, 1) && !crpie_vma_covers(&c, 0x2ff8, 16, 2), "across two");
	CHECK(!crpie_vma_covers(&c, 0x3ff8, 16, 1) && crpie_vma_covers(&c, 0x3ff8, 8, 1), "into a gap");
	CHECK(!crpie_vma_covers(&c, UINT64_MAX - 4, 16, 0), "wraps around");
	CHECK(crpie_vma_readable(&c, 0x2000, 100) == 100 && crpie_vma_readable(&c, 0x2000, 1 << 20) == 0x2000,
	      "readable");
	CHECK(crpie_vma_readable(&c, 0x8000, 10) == 0 && crpie_vma_readable(&c, 0, 10) == 0, "unreadable");
	c.nr_vmas = 0;
	CHECK(crpie_vma_find(&c, 0x1000) == NULL, "no mapping at all");
}

/* A thread may stand where nothing can be read: an earlier hook has set ip, or unmapped it. */
static void test_regs(struct crpie_ctx *ctx)
{
	static const unsigned char call[] = { 0x0f, 0x05 };
	const struct crpie_vma code = { (uintptr_t)call, (uintptr_t)call + sizeof(call), CRPIE_PROT_READ, 0, 0, "" };
	struct crpie_regs regs = { .syscall = 35, .ax = 35, .ip = 8 };
	struct crpie_ctx c = *ctx;

	c.vmas = &code;
	c.nr_vmas = 1;
	c.regs = &regs;
	CHECK(!crpie_makes_syscall(&c), "ip is 8");
	CHECK(crpie_return_from_syscall(&c, 0) == 0 && regs.ip == 8 && regs.ax == 0, "ip is 8");
	regs.ax = 35;
	regs.ip = (uintptr_t)call;
	CHECK(crpie_makes_syscall(&c) && crpie_return_from_syscall(&c, -4) == 0, "a call");
	CHECK(regs.ip == (uintptr_t)call + 2 && regs.ax == (uint64_t)-4, "returns");
}

static struct crpie_vma own_vmas[4096];
static uint64_t own_auxv[128];

/* This program as a restored one would be described. */
static void describe_self(struct crpie_ctx *ctx)
{
	static char names[4096][512];
	FILE *f = fopen("/proc/self/maps", "r");
	char line[4352], perms[5];
	unsigned long start, end;
	uint64_t n = 0, types[] = { AT_PHDR, AT_PHNUM, AT_BASE, AT_PHENT }, i;

	while (f != NULL && n < 4096 && fgets(line, sizeof(line), f)) {
		names[n][0] = '\0';
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %511s", &start, &end, perms, names[n]) < 3)
			continue;
		own_vmas[n].start = start;
		own_vmas[n].end = end;
		own_vmas[n].prot = (perms[0] == 'r' ? 1u : 0) | (perms[1] == 'w' ? 2u : 0) | (perms[2] == 'x' ? 4u : 0);
		own_vmas[n].name = names[n];
		n++;
	}
	if (f != NULL)
		fclose(f);
	for (i = 0; i < 4; i++) {
		own_auxv[2 * i] = types[i];
		own_auxv[2 * i + 1] = getauxval(types[i]);
	}
	mm.auxv = own_auxv;
	mm.auxv_words = 10;
	ctx->vmas = own_vmas;
	ctx->nr_vmas = n;
}

__attribute__((visibility("default"))) int exported_variable = 7;

static uint64_t address(const char *name)
{
	return (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, name);
}

static void test_symbols(struct crpie_ctx *ctx)
{
	static const char *const names[] = {
		"exported_variable", "srandom", "srand48", "environ", "getenv", "main", "setenv"
	};
	struct crpie_symbol sym = { 0, 0, 0 };
	unsigned int i;

	describe_self(ctx);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK(crpie_symbol(ctx, names[i]) == address(names[i]) && address(names[i]) != 0,
		      "%s: got %lx, want %lx", names[i], (unsigned long)crpie_symbol(ctx, names[i]),
		      (unsigned long)address(names[i]));
	CHECK(crpie_symbol_find(ctx, NULL, "exported_variable", &sym) && sym.size >= 4 && sym.type == STT_OBJECT, "%u",
	      sym.type);
	CHECK(crpie_symbol_find(ctx, "libc.so", "srandom", &sym) && sym.addr == address("srandom"), "in libc");
	CHECK(!crpie_symbol_find(ctx, "libc.so", "exported_variable", &sym), "not in libc");
	CHECK(!crpie_symbol_find(ctx, "libnone.so", "srandom", &sym), "no such object");
	CHECK(crpie_symbol(ctx, "no_such_symbol_anywhere") == 0, "absent");
	CHECK(crpie_symbol(ctx, "errno") == 0, "thread-local");
	CHECK(crpie_symbol(ctx, "") == 0, "empty name");
}

/* Every mapping taken away in turn, then all but one: a lookup fails or succeeds, but never reads outside the list. */
static void test_symbols_with_holes(struct crpie_ctx *ctx)
{
	static struct crpie_vma fewer[4096];
	uint64_t all = ctx->nr_vmas, i, want = address("srandom"), got;

	for (i = 0; i < all; i++) {
		memcpy(fewer, own_vmas, i * sizeof(fewer[0]));
		memcpy(fewer + i, own_vmas + i + 1, (all - i - 1) * sizeof(fewer[0]));
		ctx->vmas = fewer;
		ctx->nr_vmas = all - 1;
		got = crpie_symbol(ctx, "srandom");
		CHECK(got == want || got == 0, "%lx", (unsigned long)got);
		ctx->vmas = own_vmas + i;
		ctx->nr_vmas = 1;
		CHECK(crpie_symbol(ctx, "srandom") == 0, "found with one mapping");
	}
	ctx->vmas = own_vmas;
	ctx->nr_vmas = all;
}

/* A list of objects that bites its tail, and a hash chain that never ends. */
static void test_symbols_in_damaged_tables(struct crpie_ctx *ctx)
{
	static uint64_t map[5], debug[2];
	static uint32_t sysv[] = { 1, 0xffffffff, 1, 0, 1 }; /* chain[1] = 1 */
	static Elf64_Sym symtab[2];
	struct crpie_object obj;
	struct crpie_symbol sym;

	describe_self(ctx);
	map[3] = (uint64_t)(uintptr_t)map;
	debug[1] = (uint64_t)(uintptr_t)map;
	CHECK(!crpie_link_map_lookup(ctx, (uint64_t)(uintptr_t)debug, NULL, "x", &sym), "circular list");
	memset(&obj, 0, sizeof(obj));
	obj.symtab = (uint64_t)(uintptr_t)symtab;
	obj.strtab = (uint64_t)(uintptr_t)"x";
	obj.strsz = 2;
	obj.hash = (uint64_t)(uintptr_t)sysv;
	CHECK(!crpie_object_lookup(ctx, &obj, "x", &sym), "circular chain");
	own_auxv[1] = 0x1234;
	CHECK(crpie_symbol(ctx, "srandom") == 0 || own_auxv[5] != 0, "AT_PHDR points nowhere");
	mm.auxv_words = 0;
	CHECK(crpie_symbol(ctx, "srandom") == 0, "no auxiliary vector");
}

int main(void);
__attribute__((used)) static volatile int hidden_variable = 3;
__attribute__((used)) static __thread int hidden_tls;

/* What only the file knows, then the file with a few bytes wrong, many times over. */
static void test_symtab(struct crpie_ctx *ctx)
{
	struct crpie_symbol sym = { 0, 0, 0 };
	FILE *f = fopen("/proc/self/exe", "r");
	static unsigned char file[4 << 20];
	size_t size = f != NULL ? fread(file, 1, sizeof(file), f) : 0;
	unsigned int round;

	describe_self(ctx);
	CHECK(crpie_symtab_find(ctx, "hidden_variable", &sym) == 0 && sym.addr == (uint64_t)(uintptr_t)&hidden_variable,
	      "%lx", (unsigned long)sym.addr);
	CHECK(crpie_symtab_find(ctx, "main", &sym) == 0 && sym.addr == (uint64_t)(uintptr_t)main &&
		      sym.type == STT_FUNC,
	      "main");
	CHECK(crpie_symtab_find(ctx, "hidden_tls", &sym) == -ESRCH, "thread-local");
	CHECK(crpie_symtab_find(ctx, "srandom", &sym) == -ESRCH, "not in this file");
	CHECK(crpie_symtab_find(ctx, "", &sym) != 0 || sym.addr != 0, "empty name");
	for (round = 0; round < 300 && size > 64; round++) {
		size_t i, cut = round % 4 == 0 ? (size_t)rand() % size : size;
		unsigned char *exact = malloc(cut);
		memcpy(exact, file, cut);
		for (i = 0; i < 3 && cut > 0; i++)
			exact[(size_t)rand() % (cut < 64 || i == 0 ? cut : 64)] = (unsigned char)rand();
		crpie_symtab_search(exact, cut, 0x1000, "hidden_variable", &sym);
		free(exact);
	}
	if (f != NULL)
		fclose(f);
}

static void test_syscalls(void)
{
	char buf[16] = "";
	int fds[2];
	char *page;

	CHECK(sys_getpid() == getpid(), "%d", sys_getpid());
	CHECK(sys_close(-1) == -EBADF, "close(-1) = %ld", sys_close(-1));
	CHECK(sys_pipe2(fds, 0) == 0, "pipe2");
	CHECK(sys_write(fds[1], "hello", 5) == 5 && sys_read(fds[0], buf, 16) == 5 && memcmp(buf, "hello", 5) == 0,
	      "pipe");
	page = (char *)sys_mmap(NULL, 4096, 3, 0x22, -1, 0);
	CHECK(!crpie_is_err((long)page), "mmap = %p", (void *)page);
	page[0] = 1;
	CHECK(sys_munmap(page, 4096) == 0, "munmap");
	CHECK(crpie_is_err((long)sys_mmap(NULL, 0, 3, 0x22, -1, 0)), "mmap of nothing");
	CHECK(crpie_is_err(-4095) && !crpie_is_err(-4096) && !crpie_is_err(0), "is_err");
	CHECK(sys_getrandom(buf, 16, 0) == 16, "getrandom");
}

int main(void)
{
	struct crpie_ctx ctx;

	memset(&ctx, 0, sizeof(ctx));
	ctx.size = sizeof(ctx);
	ctx.mm = &mm;
	ctx.log = keep_log;
	CHECK(CRPIE_CTX_HAS(&ctx, log), "version 1 has log");
	ctx.size = offsetof(struct crpie_ctx, log);
	CHECK(!CRPIE_CTX_HAS(&ctx, log), "a context that ends before log");
	ctx.size = sizeof(ctx);
	test_printf();
	test_bad_formats();
	test_string();
	test_log(&ctx);
	test_params(&ctx);
	test_vma(&ctx);
	test_regs(&ctx);
	test_env(&ctx);
	test_symbols(&ctx);
	test_symbols_with_holes(&ctx);
	test_symtab(&ctx);
	test_symbols_in_damaged_tables(&ctx);
	test_syscalls();
	printf("%d checks, %d failed\n", checks, failures);
	return failures != 0;
}
