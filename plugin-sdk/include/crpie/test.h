/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of plugins, in an ordinary program with libc: a sanitizer watches the hooks, a debugger stops in them.
 *
 *	#include <crpie/test.h>
 *	#include "hook.c"
 *
 *	int main(void)
 *	{
 *		struct crpie_test t;
 *
 *		crpie_test_begin(&t, "worker");
 *		crpie_test_param(&t, "name", "clone");
 *		CRPIE_EXPECT(crpie_test_run(&t, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN) == 0);
 *		CRPIE_EXPECT(crpie_test_logged(&t, "info: worker is now clone"));
 *		crpie_test_end(&t);
 *		return crpie_test_result();
 *	}
 *
 * The program that the hooks run in is the test: ctx->vmas has its mappings as they were at crpie_test_begin, ctx->mm
 * has its auxiliary vector. So pointers to its variables are covered, and crpie_symbol finds what it exports
 * (-rdynamic). Memory that is mapped later is told by crpie_test_map. The environment block is one of its own, empty
 * at first.
 *
 * This header comes first: the hooks then use libc's memcpy, not the SDK's. A plugin in assembly or Rust is an object
 * that is linked with the test; crpie_test_run finds its hooks by their records. plugin.mk builds hook_test out of
 * hook_test.c with sanitizers.
 */
#ifndef CRPIE_TEST_H
#define CRPIE_TEST_H

#if defined(CRPIE_STRING_H) && !defined(CRPIE_NO_LIBC_NAMES)
#error "include <crpie/test.h> before the SDK's other headers and before the plugin"
#endif
#ifndef CRPIE_NO_LIBC_NAMES
#define CRPIE_NO_LIBC_NAMES
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <crpie/abi.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/syscall.h>
#include <crpie/vma.h>

#define CRPIE_TEST_AUXV_WORDS 128 /* the kernel writes about 50 */

/* A context and all that it points at. Its members may be changed between runs: t.ctx.nr_threads = 3; */
struct crpie_test {
	struct crpie_ctx ctx; /* first, so that ctx->log finds the rest */
	struct crpie_mm mm;
	struct crpie_param *params;
	struct crpie_vma *vmas;
	uint64_t *madv, auxv[CRPIE_TEST_AUXV_WORDS];
	char *env, *log; /* log: lines "level: text" */
	size_t env_len, log_len;
	void **owned; /* copies of strings */
	size_t nr_owned;
	int begun, failed; /* init ran; exit must not */
	int stage;         /* what init was told */
};

/* What the linker defines for sections whose names are C identifiers; 0 if there is no such section. */
extern struct crpie_hook_record __start_crpie_hooks[] __attribute__((weak));
extern struct crpie_hook_record __stop_crpie_hooks[] __attribute__((weak));
extern struct crpie_plugin_record __start_crpie_plugin[] __attribute__((weak));
extern struct crpie_plugin_record __stop_crpie_plugin[] __attribute__((weak));
extern char __start_crpie_params[] __attribute__((weak));
extern char __stop_crpie_params[] __attribute__((weak));
extern char __start_crpie_imports[] __attribute__((weak));
extern char __stop_crpie_imports[] __attribute__((weak));

__attribute__((unused)) static int crpie_test_checks, crpie_test_failures;

#define CRPIE_EXPECT(cond)                                                                                             \
	do {                                                                                                           \
		crpie_test_checks++;                                                                                   \
		if (!(cond)) {                                                                                         \
			crpie_test_failures++;                                                                         \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                             \
		}                                                                                                      \
	} while (0)

/* Prints how many expectations held; what main returns. A test without any has failed. */
static inline int crpie_test_result(void)
{
	printf("%d of %d checks passed\n", crpie_test_checks - crpie_test_failures, crpie_test_checks);
	return crpie_test_failures != 0 || crpie_test_checks == 0;
}

static inline void *crpie_test_resize(void *old, size_t bytes)
{
	void *p = realloc(old, bytes != 0 ? bytes : 1);

	if (p == NULL) {
		fprintf(stderr, "crpie/test.h: no memory\n");
		exit(2);
	}
	return p;
}

/* A copy without a byte to spare, so that a sanitizer sees who reads on. */
static inline const char *crpie_test_copy(struct crpie_test *t, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = (char *)crpie_test_resize(NULL, size);

	memcpy(copy, text, size);
	t->owned = (void **)crpie_test_resize(t->owned, (t->nr_owned + 1) * sizeof(void *));
	t->owned[t->nr_owned++] = copy;
	return copy;
}

static inline void crpie_test_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len)
{
	static const char names[][8] = { "?", "error", "warn", "info", "debug" };
	struct crpie_test *t = (struct crpie_test *)(uintptr_t)ctx;
	size_t room = t->log_len + (size_t)len + sizeof(names[0]) + 4;

	t->log = (char *)crpie_test_resize(t->log, room);
	t->log_len += (size_t)snprintf(t->log + t->log_len, room - t->log_len, "%s: %.*s\n",
				       names[level < 5 ? level : 0], (int)len, msg);
	fprintf(stderr, "%s: %s: %.*s\n", ctx->plugin, names[level < 5 ? level : 0], (int)len, msg);
}

/* True if a line was logged that has the text; the line begins with its level: "error: ", "warn: ", "info: ". */
static inline int crpie_test_logged(const struct crpie_test *t, const char *text)
{
	return t->log != NULL && strstr(t->log, text) != NULL;
}

static inline void crpie_test_insert(struct crpie_test *t, struct crpie_vma vma)
{
	uint64_t i = t->ctx.nr_vmas++;

	t->vmas = (struct crpie_vma *)crpie_test_resize(t->vmas, (i + 1) * sizeof(vma));
	t->ctx.vmas = t->vmas;
	for (; i > 0 && t->vmas[i - 1].start > vma.start; i--)
		t->vmas[i] = t->vmas[i - 1];
	t->vmas[i] = vma;
}

/* Takes [addr, addr+len) out of ctx->vmas: crpie_vma_covers says no. */
static inline void crpie_test_unmap(struct crpie_test *t, const void *addr, size_t len)
{
	uint64_t start = (uint64_t)(uintptr_t)addr, end = start + len, nr = t->ctx.nr_vmas, i;
	struct crpie_vma *old = t->vmas;

	t->vmas = NULL;
	t->ctx.nr_vmas = 0;
	for (i = 0; i < nr; i++) {
		struct crpie_vma left = old[i], right = old[i];

		left.end = left.end < start ? left.end : start;
		right.start = right.start > end ? right.start : end;
		right.pgoff += right.start - old[i].start;
		if (left.start < left.end)
			crpie_test_insert(t, left);
		if (right.start < right.end)
			crpie_test_insert(t, right);
	}
	free(old);
}

/* Puts [addr, addr+len) into ctx->vmas, in place of what was there; prot: CRPIE_PROT_*. The memory is the caller's. */
static inline void crpie_test_map(struct crpie_test *t, const void *addr, size_t len, uint32_t prot, const char *name)
{
	uint64_t start = (uint64_t)(uintptr_t)addr;
	struct crpie_vma vma = { start, start + len, prot, 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, 0, "" };

	vma.name = crpie_test_copy(t, name);
	crpie_test_unmap(t, addr, len);
	crpie_test_insert(t, vma);
}

/* proc_pid_maps(5): start-end rwxp offset device inode name */
static inline void crpie_test_own_maps(struct crpie_test *t)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4400]; /* PATH_MAX and the rest */

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long start, end, offset;
		char prot[5], name[4200] = "";
		struct crpie_vma vma = { 0, 0, 0, 0, 0, "" };

		if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %4199[^\n]", &start, &end, prot, &offset, name) < 4)
			continue;
		vma.start = start;
		vma.end = end;
		vma.pgoff = offset;
		vma.prot = (prot[0] == 'r' ? CRPIE_PROT_READ : 0) | (prot[1] == 'w' ? CRPIE_PROT_WRITE : 0) |
			   (prot[2] == 'x' ? CRPIE_PROT_EXEC : 0);
		vma.flags = (prot[3] == 's' ? 0x1u : 0x2u) | (name[0] == '/' ? 0 : 0x20u);
		vma.name = crpie_test_copy(t, name);
		crpie_test_insert(t, vma);
	}
	if (maps != NULL)
		fclose(maps);
}

static inline void crpie_test_own_auxv(struct crpie_test *t)
{
	FILE *auxv = fopen("/proc/self/auxv", "rb");

	t->mm.auxv = t->auxv;
	if (auxv != NULL) {
		t->mm.auxv_words = fread(t->auxv, sizeof(t->auxv[0]), CRPIE_TEST_AUXV_WORDS, auxv);
		fclose(auxv);
	}
}

static inline int64_t crpie_test_now(void)
{
	struct __kernel_timespec now = { 0, 0 };

	sys_clock_gettime(0 /* CLOCK_REALTIME */, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Makes a context as crpie would for a task of that name, "restored" now, an hour after it was dumped. */
static inline void crpie_test_begin(struct crpie_test *t, const char *comm)
{
	int named = &__start_crpie_plugin[0] < &__stop_crpie_plugin[0];

	memset(t, 0, sizeof(*t));
	t->ctx.size = sizeof(t->ctx);
	t->ctx.abi = CRPIE_ABI_VERSION;
	t->ctx.pid = sys_getpid();
	t->ctx.tid = sys_gettid();
	t->ctx.nr_threads = 1;
	t->ctx.restore_time_ns = crpie_test_now();
	t->ctx.dump_time_ns = t->ctx.restore_time_ns - 3600 * (int64_t)1000000000;
	t->ctx.comm = crpie_test_copy(t, comm);
	t->ctx.plugin = crpie_test_copy(t, named ? __start_crpie_plugin->name : "plugin");
	t->ctx.mm = &t->mm;
	t->ctx.log = crpie_test_log;
	crpie_test_own_maps(t);
	crpie_test_own_auxv(t);
}

/*
 * Gives the plugin key=value, as --pie-plugin hook.o,key=value does. For key=@task:FILE the key is "key@" and the value
 * FILE, which is how such a parameter (CRPIE_IN_TASK) reaches crpie_param_read.
 */
static inline void crpie_test_param(struct crpie_test *t, const char *key, const char *value)
{
	uint64_t i = t->ctx.nr_params++;

	t->params = (struct crpie_param *)crpie_test_resize(t->params, (i + 1) * sizeof(t->params[0]));
	t->params[i].key = crpie_test_copy(t, key);
	t->params[i].value = crpie_test_copy(t, value);
	t->ctx.params = t->params;
}

/* Appends a string, NAME=VALUE, to the environment block, which moves. */
static inline void crpie_test_env(struct crpie_test *t, const char *text)
{
	size_t len = strlen(text) + 1;

	if (t->env != NULL)
		crpie_test_unmap(t, t->env, t->env_len);
	t->env = (char *)crpie_test_resize(t->env, t->env_len + len);
	memcpy(t->env + t->env_len, text, len);
	t->env_len += len;
	t->mm.env_start = (uint64_t)(uintptr_t)t->env;
	t->mm.env_end = t->mm.env_start + t->env_len;
	crpie_test_map(t, t->env, t->env_len, CRPIE_PROT_READ | CRPIE_PROT_WRITE, "[stack]");
}

/* Gives every import of a symbol, without its version, an address: that of a function or variable of the test. */
static inline void crpie_test_import(const char *symbol, const void *address)
{
	const char *at = __start_crpie_imports;
	size_t len = strlen(symbol);

	for (; at != NULL && at < __stop_crpie_imports; at += sizeof(struct crpie_import_record)) {
		const struct crpie_import_record *r = (const struct crpie_import_record *)(const void *)at;

		if (strncmp(r->symbol, symbol, len) == 0 && (r->symbol[len] == '\0' || r->symbol[len] == '@'))
			memcpy(r->slot, &address, sizeof(address));
	}
}

/* The declaration behind last, or the first one, or NULL. Rust's and older ones end before def. */
static inline const struct crpie_param_record *crpie_test_declaration(const struct crpie_param_record *last)
{
	const char *next = last == NULL ? __start_crpie_params : (const char *)last + last->size;

	return next != NULL && next < __stop_crpie_params ? (const struct crpie_param_record *)(const void *)next :
							    NULL;
}

/* 1 if a parameter is given with that key: its name, or with CRPIE_IN_TASK name@. */
static inline int crpie_test_has_key(const struct crpie_param_record *r, const char *key)
{
	size_t len = strlen(r->name);

	return strncmp(key, r->name, len) == 0 &&
	       (key[len] == '\0' || (r->flags & CRPIE_IN_TASK && strcmp(key + len, "@") == 0));
}

/* The file that the value is read from, or NULL. */
static inline const char *crpie_test_file(const struct crpie_ctx *ctx, const struct crpie_param_record *r)
{
	char key[CRPIE_PARAM_NAME_MAX + 1];

	crpie_snprintf(key, sizeof(key), "%s@", r->name);
	return r->flags & CRPIE_IN_TASK ? crpie_param(ctx, key) : NULL;
}

static inline const struct crpie_param_record *crpie_test_find_declaration(const char *key)
{
	const struct crpie_param_record *r = NULL;

	while ((r = crpie_test_declaration(r)) != NULL)
		if (r->kind != CRPIE_PARAM_KIND_NONE && r->kind != CRPIE_PARAM_KIND_ONE_OF &&
		    crpie_test_has_key(r, key))
			return r;
	return NULL;
}

/* 1 if word is among words, which are separated by blanks. */
static inline int crpie_test_among(const char *words, const char *word)
{
	struct crpie_param one = { word, "" };
	struct crpie_ctx ctx;

	memset(&ctx, 0, sizeof(ctx));
	ctx.params = &one;
	ctx.nr_params = 1;
	return crpie_param_unknown(&ctx, words) == NULL;
}

/* Why the value of a declared parameter would not reach the plugin, or NULL. */
static inline const char *crpie_test_wrong_value(const struct crpie_ctx *ctx, const struct crpie_param_record *r)
{
	const char *value = crpie_param(ctx, r->name), *file = crpie_test_file(ctx, r);
	uint64_t number;
	int yes;

	if (file != NULL)
		return value != NULL ? "is given as a file and as a value" : *file == '\0' ? "names no file" : NULL;
	if (value == NULL)
		return r->flags & CRPIE_REQUIRED ? "is missing" : NULL;
	switch (r->kind) {
	case CRPIE_PARAM_KIND_STRING:
		return r->flags & CRPIE_REQUIRED && *value == '\0' ? "is empty" : NULL;
	case CRPIE_PARAM_KIND_INT:
		return crpie_param_u64(ctx, r->name, r->min, r->max, &number) ? "is no such number" : NULL;
	case CRPIE_PARAM_KIND_SIZE:
		return crpie_param_size(ctx, r->name, r->min, r->max, &number) ? "is no such size" : NULL;
	case CRPIE_PARAM_KIND_BOOL:
		return crpie_param_bool(ctx, r->name, &yes) ? "is neither yes nor no" : NULL;
	case CRPIE_PARAM_KIND_ENUM:
		return crpie_test_among(r->values, value) ? NULL : "is none of the values";
	default:
		return NULL;
	}
}

/* Why parameters that exclude each other would not reach the plugin, or NULL. */
static inline const char *crpie_test_wrong_choice(const struct crpie_ctx *ctx, const struct crpie_param_record *r)
{
	const struct crpie_param_record *member;
	uint64_t i, given = 0;

	for (i = 0; i < ctx->nr_params; i++) {
		member = crpie_test_find_declaration(ctx->params[i].key);
		given += member != NULL && crpie_test_among(r->values, member->name);
	}
	if (given > 1)
		return "exclude each other";
	return given == 0 && r->flags & CRPIE_REQUIRED ? "are missing: one is needed" : NULL;
}

static inline int crpie_test_refuse(const struct crpie_ctx *ctx, const char *name, const char *why)
{
	fprintf(stderr, "%s: parameter %s %s: crpie would refuse that\n", ctx->plugin, name, why);
	return -EINVAL;
}

/* Does with the parameters what crpie does before a process exists: defaults, and -EINVAL for what it refuses. */
static inline int crpie_test_declared(struct crpie_test *t)
{
	const struct crpie_param_record *r = NULL;
	const char *why;
	uint64_t i;

	if (crpie_test_declaration(NULL) == NULL)
		return 0;
	for (i = 0; i < t->ctx.nr_params; i++)
		if (crpie_test_find_declaration(t->params[i].key) == NULL)
			return crpie_test_refuse(&t->ctx, t->params[i].key, "is not declared");
	while ((r = crpie_test_declaration(r)) != NULL) {
		if (r->flags & CRPIE_DEFAULTED && crpie_param(&t->ctx, r->name) == NULL &&
		    crpie_test_file(&t->ctx, r) == NULL)
			crpie_test_param(t, r->name, r->def);
		why = r->kind == CRPIE_PARAM_KIND_ONE_OF ? crpie_test_wrong_choice(&t->ctx, r) :
		      r->kind == CRPIE_PARAM_KIND_NONE   ? NULL :
							   crpie_test_wrong_value(&t->ctx, r);
		if (why != NULL)
			return crpie_test_refuse(&t->ctx, *r->name ? r->name : r->values, why);
	}
	return 0;
}

/* The next hook of a stage: lower priorities first, equal ones in the order of their records. */
static inline const struct crpie_hook_record *crpie_test_next(uint32_t hook, const struct crpie_hook_record *last)
{
	const struct crpie_hook_record *h, *best = NULL;

	if (__start_crpie_hooks == NULL)
		return NULL;
	for (h = __start_crpie_hooks; h < __stop_crpie_hooks; h++)
		if (h->hook == hook &&
		    (last == NULL || h->priority > last->priority || (h->priority == last->priority && h > last)) &&
		    (best == NULL || h->priority < best->priority))
			best = h;
	return best;
}

/* init, once; its records of version 2 take a context. */
static inline int crpie_test_init(struct crpie_test *t, uint32_t hook)
{
	const struct crpie_plugin_record *r = __start_crpie_plugin;

	if (!t->begun)
		t->stage = CRPIE_IS_DUMP_HOOK_(hook) ? CR_PLUGIN_STAGE__DUMP : CR_PLUGIN_STAGE__RESTORE;
	t->ctx.hook = CRPIE_HOOK_INIT;
	if (t->begun++ || r == NULL || r->init == NULL)
		return 0;
	if (r->abi >= 2)
		return ((const struct crpie_plugin_record_ctx *)(const void *)r)->init(t->stage, &t->ctx);
	return r->init(t->stage);
}

static inline void crpie_test_exit(struct crpie_test *t)
{
	const struct crpie_plugin_record *r = __start_crpie_plugin;

	t->ctx.hook = CRPIE_HOOK_EXIT;
	if (!t->begun || t->failed || r == NULL || r->exit == NULL)
		return;
	if (r->abi >= 2)
		((const struct crpie_plugin_record_ctx *)(const void *)r)->exit(t->stage, 0, &t->ctx);
	else
		r->exit(t->stage, 0);
}

static inline int crpie_test_hooks(struct crpie_test *t, uint32_t hook)
{
	const struct crpie_hook_record *h = crpie_test_next(hook, NULL);
	int ret, result = h == NULL ? -ENOENT : -ENOTSUP;

	for (; h != NULL; h = crpie_test_next(hook, h)) {
		t->ctx.hook = hook;
		ret = h->fn(&t->ctx);
		if (ret > 0 || ret < -4095)
			fprintf(stderr, "%s: returned %d, which is neither 0 nor a negative errno\n", t->ctx.plugin,
				ret);
		if (ret != 0 && ret != -ENOTSUP)
			return ret;
		if (ret == 0)
			result = 0;
	}
	return result;
}

/*
 * Runs the plugin's hooks of a stage as crpie does, and before the first ones its init. Returns 0; -ENOTSUP if init or
 * all hooks said so; -EINVAL for parameters that crpie refuses; -ENOENT without a hook of that stage; or what a hook
 * returned to undo the restore.
 */
static inline int crpie_test_run(struct crpie_test *t, uint32_t hook)
{
	int ret = crpie_test_declared(t);

	free(t->madv);
	t->madv = (uint64_t *)crpie_test_resize(NULL, t->ctx.nr_vmas * sizeof(uint64_t));
	memset(t->madv, 0, t->ctx.nr_vmas * sizeof(uint64_t));
	t->ctx.vma_madv = t->madv;
	if (ret == 0)
		ret = crpie_test_init(t, hook);
	t->failed |= ret != 0;
	if (ret == 0) {
		ret = crpie_test_hooks(t, hook);
		t->failed |= ret != 0 && ret != -ENOTSUP; /* other stages go on */
	}
	return ret;
}

/* Runs the plugin's exit if no run failed (-ENOTSUP of a hook is no failure, of init it is), and frees what the context has. */
static inline void crpie_test_end(struct crpie_test *t)
{
	crpie_test_exit(t);
	while (t->nr_owned != 0)
		free(t->owned[--t->nr_owned]);
	free(t->owned);
	free(t->params);
	free(t->vmas);
	free(t->madv);
	free(t->env);
	free(t->log);
	memset(t, 0, sizeof(*t));
}

#endif
