/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reseed: has every generator of random numbers that it finds in a task take new randomness from the kernel, so that no
 * two clones draw the same. docs/plugins.md says which it finds, and what it cannot reach.
 *
 *	crpie restore -D images --pie-plugin reseed.o
 *	crpie restore -D images --pie-plugin reseed.o,allow=node+go
 *
 * Functions of the program are called while it stands wherever it was dumped. A lock that is held is recognised where
 * that is possible, and the generator left as it is, with a warning; otherwise --pie-timeout undoes the restore.
 */
#include <crpie/keep.h>
#include <crpie/log.h>
#include <crpie/objects.h>
#include <crpie/param.h>
#include <crpie/plugin.h>
#include <crpie/string.h>
#include <crpie/syscall.h>

#define NOT_HERE (-ESRCH)
#define SKIPPED 1 /* it is here, and stays as it was: logged already */

static int find(const struct crpie_ctx *ctx, struct crpie_objects *it, const char *name, struct crpie_symbol *sym)
{
	if (crpie_objects_symbol(ctx, it, name, sym) != 0)
		return NOT_HERE;
	return crpie_vma_covers(ctx, sym->addr, 1, CRPIE_PROT_READ | CRPIE_PROT_EXEC) ? 0 : NOT_HERE;
}

static int random_bytes(const struct crpie_ctx *ctx, void *out, size_t len)
{
	long ret = sys_getrandom(out, len, 0);

	if (ret == (long)len)
		return 0;
	pr_perror(ctx, ret, "getrandom");
	return ret < 0 ? (int)ret : -EIO;
}

/* --- libc: random, rand, and the 48-bit ones --- */

/*
 * The lock of glibc's random(3), which has no name: srandom takes it by cmpxchg %reg, disp32(%rip), Intel SDM volume 2:
 * 0F B1 /r with ModRM.mod 0 and r/m 5. NULL where there is no such instruction, as in musl.
 */
static const volatile uint32_t *random_lock(const struct crpie_ctx *ctx, const struct crpie_symbol *srandom)
{
#ifdef __x86_64__
	const unsigned char *code = (const unsigned char *)(uintptr_t)srandom->addr;
	uint64_t i, len = crpie_vma_readable(ctx, srandom->addr, srandom->size < 256 ? srandom->size : 256);

	for (i = 0; i + 7 <= len; i++) {
		int32_t disp;
		uint64_t at;

		if (code[i] != 0x0f || code[i + 1] != 0xb1 || (code[i + 2] & 0xc7) != 0x05)
			continue;
		crpie_memcpy(&disp, code + i + 3, sizeof(disp));
		at = srandom->addr + i + 7 + (uint64_t)(int64_t)disp;
		if (crpie_vma_covers(ctx, at, 4, CRPIE_PROT_READ | CRPIE_PROT_WRITE))
			return (const volatile uint32_t *)(uintptr_t)at;
	}
#else
	(void)ctx;
	(void)srandom;
#endif
	return NULL;
}

/* srandom and srand take an unsigned int, srand48 a long: in an integer register they are called alike. */
static int call_with_seed(const struct crpie_ctx *ctx, const struct crpie_symbol *sym)
{
	unsigned long seed = 0;
	int err = random_bytes(ctx, &seed, sizeof(seed));

	if (err == 0)
		((void (*)(unsigned long))(uintptr_t)sym->addr)(seed);
	return err;
}

/* Only what has __libc_start_main is libc: a program may have functions of these names. */
static int is_libc(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol start;

	return find(ctx, it, "__libc_start_main", &start) == 0;
}

static int renew_random(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	const volatile uint32_t *lock;
	struct crpie_symbol srandom;

	if (!is_libc(ctx, it) || find(ctx, it, "srandom", &srandom) != 0)
		return NOT_HERE;
	lock = random_lock(ctx, &srandom);
	if (lock == NULL || *lock == 0)
		return call_with_seed(ctx, &srandom);
	pr_warn(ctx, "a thread was dumped inside random(): libc's state stays, which every clone shares");
	return SKIPPED;
}

/*
 * The 48-bit state itself, where srand48 is not linked: the first six bytes of glibc's struct drand48_data, <stdlib.h>,
 * and of musl's array.
 */
static int renew_seed48(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol state;

	if (crpie_objects_symbol(ctx, it, "__libc_drand48_data", &state) != 0 &&
	    crpie_objects_symbol(ctx, it, "__seed48", &state) != 0)
		return NOT_HERE;
	if (state.size < 6 || !crpie_vma_covers(ctx, state.addr, 6, CRPIE_PROT_READ | CRPIE_PROT_WRITE))
		return NOT_HERE;
	return random_bytes(ctx, (void *)(uintptr_t)state.addr, 6);
}

static int renew_rand48(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol srand48;

	if (!is_libc(ctx, it))
		return NOT_HERE;
	if (find(ctx, it, "srand48", &srand48) != 0)
		return renew_seed48(ctx, it);
	return call_with_seed(ctx, &srand48);
}

/* musl's srand has a state of its own; glibc's is srandom. */
static int renew_rand(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol srand, srandom;

	if (!is_libc(ctx, it) || find(ctx, it, "srand", &srand) != 0)
		return NOT_HERE;
	if (find(ctx, it, "srandom", &srandom) == 0 && srandom.addr == srand.addr)
		return NOT_HERE;
	return call_with_seed(ctx, &srand);
}

/* --- OpenSSL, LibreSSL, BoringSSL --- */

static int openssl_busy; /* a thread stands in a function that keeps the primary generator's lock for long */

#define STACK_SEARCHED 16384 /* bytes from the stack pointer on: frames below a call into the generator */

/* 1 if the thread stands in the function, or an address in it is on the stack: a frame returns there. */
static int stands_in(const struct crpie_ctx *ctx, const struct crpie_regs *regs, const struct crpie_symbol *function)
{
	uint64_t len = crpie_vma_readable(ctx, regs->sp, STACK_SEARCHED), i;

	if (regs->ip - function->addr < function->size)
		return 1;
	for (i = 0; regs->sp % 8 == 0 && i + 8 <= len; i += 8)
		if (*(const uint64_t *)(uintptr_t)(regs->sp + i) - function->addr < function->size)
			return 1;
	return 0;
}

static void look_for_openssl(const struct crpie_ctx *ctx, const struct crpie_objects *it)
{
	static const char names[][12] = { "RAND_poll", "RAND_add", "RAND_seed" };
	struct crpie_symbol sym;
	unsigned int i;

	if (!CRPIE_CTX_HAS(ctx, regs) || ctx->regs == NULL)
		return;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (crpie_object_lookup(ctx, &it->obj, names[i], &sym) && stands_in(ctx, ctx->regs, &sym))
			__atomic_store_n(&openssl_busy, 1, __ATOMIC_RELAXED);
}

static int renew_openssl(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol poll;

	if (find(ctx, it, "RAND_poll", &poll) != 0)
		return NOT_HERE;
	if (__atomic_load_n(&openssl_busy, __ATOMIC_RELAXED)) {
		pr_warn(ctx, "a thread was dumped inside RAND_poll or RAND_add: OpenSSL's state stays, "
			     "which every clone shares");
		return SKIPPED;
	}
	if (((int (*)(void))(uintptr_t)poll.addr)() == 1)
		return 0;
	pr_err(ctx, "RAND_poll of %s fails", it->path);
	return -EIO;
}

/* --- sqlite --- */

/* void sqlite3_randomness(int N, void *P): with N 0 it starts anew, <https://sqlite.org/c3ref/randomness.html>. */
static int renew_sqlite(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol sym;

	if (find(ctx, it, "sqlite3_randomness", &sym) != 0)
		return NOT_HERE;
	((void (*)(int, void *))(uintptr_t)sym.addr)(0, NULL);
	return 0;
}

/* --- redis, valkey --- */

#define HEX_ID 40 /* CONFIG_RUN_ID_SIZE */

static int is_hex(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* 1 for 40 hexadecimal digits and NUL that are an id: one of zeros says that there is none. */
static int is_id(const unsigned char *text)
{
	unsigned int i, zeros = 0;

	for (i = 0; i < HEX_ID; i++) {
		if (!is_hex(text[i]))
			return 0;
		zeros += text[i] == '0';
	}
	return text[HEX_ID] == 0 && zeros != HEX_ID;
}

static int new_ids(const struct crpie_ctx *ctx, unsigned char *from, uint64_t len)
{
	uint64_t i, n;

	for (i = 0; i + HEX_ID < len; i++) {
		unsigned char bytes[HEX_ID];
		int err;

		if (!is_id(from + i))
			continue;
		err = random_bytes(ctx, bytes, sizeof(bytes));
		if (err != 0)
			return err;
		for (n = 0; n < HEX_ID; n++)
			from[i + n] = (unsigned char)"0123456789abcdef"[bytes[n] & 15];
		i += HEX_ID;
	}
	return 0;
}

/* run_id and replid are in struct redisServer server; RANDOMKEY and others draw from mt19937-64.c. */
static int find_redis(const struct crpie_ctx *ctx, struct crpie_objects *it, struct crpie_symbol *server,
		      struct crpie_symbol *init)
{
	if (crpie_objects_symbol(ctx, it, "server", server) != 0 || find(ctx, it, "init_genrand64", init) != 0)
		return NOT_HERE;
	return crpie_vma_covers(ctx, server->addr, server->size, CRPIE_PROT_READ | CRPIE_PROT_WRITE) ? 0 : NOT_HERE;
}

static int renew_redis(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol server, init;
	int err = find_redis(ctx, it, &server, &init);

	if (err == 0)
		err = new_ids(ctx, (unsigned char *)(uintptr_t)server.addr, server.size);
	return err != 0 ? err : call_with_seed(ctx, &init);
}

/* --- Python --- */

/*
 * Runs in the main thread before its next bytecode. It brings its own names, because PyRun_SimpleString runs in the
 * program's __main__, and an error in it would be the program's.
 */
static const char python_text[] = "try:\n"
				  " exec('''\n"
				  "import sys\n"
				  "def module(name): return sys.modules.get(name)\n"
				  "if module('random'): module('random').seed()\n"
				  "if module('tempfile'): module('tempfile')._name_sequence = None\n"
				  "if module('numpy.random'): module('numpy.random').seed()\n"
				  "''', {})\n"
				  "except BaseException: pass\n";

/* int Py_AddPendingCall(int (*func)(void *), void *arg) needs no interpreter lock. */
static int renew_python(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol add, run, initialized;
	void *text;
	int err;

	if (find(ctx, it, "Py_AddPendingCall", &add) != 0 || find(ctx, it, "PyRun_SimpleString", &run) != 0 ||
	    find(ctx, it, "Py_IsInitialized", &initialized) != 0)
		return NOT_HERE;
	if (((int (*)(void))(uintptr_t)initialized.addr)() == 0)
		return NOT_HERE;
	err = crpie_keep_copy(python_text, sizeof(python_text), &text);
	if (err != 0)
		return err;
	if (((int (*)(uint64_t, void *))(uintptr_t)add.addr)(run.addr, text) == 0)
		return 0;
	pr_err(ctx, "Python takes no pending call: 32 wait already");
	return -EBUSY;
}

/* --- GnuTLS: a generator in each thread --- */

static void renew_gnutls(const struct crpie_ctx *ctx, const struct crpie_objects *it)
{
	struct crpie_symbol sym;

	if (!crpie_object_lookup(ctx, &it->obj, "gnutls_rnd_refresh", &sym) ||
	    !crpie_vma_covers(ctx, sym.addr, 1, CRPIE_PROT_READ | CRPIE_PROT_EXEC))
		return;
	((void (*)(void))(uintptr_t)sym.addr)();
	if (ctx->tid == ctx->pid)
		pr_info(ctx, "GnuTLS of %s is renewed in each thread", it->path);
}

/* In each thread only what is exported is looked for: the file would have to be read as often. */
static int has_gnutls(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol sym;

	return crpie_object_lookup(ctx, &it->obj, "gnutls_rnd_refresh", &sym) ? 0 : NOT_HERE;
}

static int hides_gnutls(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol sym;

	return has_gnutls(ctx, it) != 0 && find(ctx, it, "gnutls_rnd_refresh", &sym) == 0;
}

/* --- What cannot be reached --- */

static const struct {
	char file[16]; /* the file's name up to a digit, a dot or the end; "" if it is not found by that */
	char word[12]; /* of allow= */
	char what[80];
} unreached[] = {
	{ "libgcrypt.so", "libgcrypt", "libgcrypt's nonces" },
	{ "libsoftokn", "nss", "NSS's generator" },
	{ "node", "node", "Math.random, and numbers that crypto.randomUUID and randomInt hold ready" },
	{ "libnode.so", "node", "Math.random, and numbers that crypto.randomUUID and randomInt hold ready" },
	{ "libjvm.so", "java", "java.util.Random, Math.random, SecureRandom's DRBG and SHA1PRNG" },
	{ "perl", "perl", "Perl's rand" },
	{ "libperl.so", "perl", "Perl's rand" },
	{ "ruby", "ruby", "Ruby's Random" },
	{ "libruby", "ruby", "Ruby's Random" },
	{ "php", "php", "PHP's mt_rand and lcg_value" },
	{ "libphp", "php", "PHP's mt_rand and lcg_value" },
	{ "", "gnutls", "GnuTLS in a program that does not export it" },
	{ "", "redis", "what ACL GENPASS of redis draws from" },
	{ "", "go", "Go's math/rand and the order of its maps" },
	{ "", "stripped", "what a static program without symbols keeps" },
};

#define NR_UNREACHED (sizeof(unreached) / sizeof(unreached[0]))

/* 1 if word is one of those in list, which are separated by '+'. */
static int listed(const char *list, const char *word)
{
	size_t len = crpie_strlen(word);

	while (*list != '\0') {
		if (crpie_strncmp(list, word, len) == 0 && (list[len] == '+' || list[len] == '\0'))
			return 1;
		while (*list != '\0' && *list++ != '+')
			;
	}
	return 0;
}

static int known(const char *word)
{
	unsigned int i;

	for (i = 0; i < NR_UNREACHED; i++)
		if (crpie_strcmp(unreached[i].word, word) == 0)
			return 1;
	return crpie_strcmp(word, "all") == 0;
}

/* Every word of allow= has a meaning. */
static int check_allow(const struct crpie_ctx *ctx, const char *list)
{
	char word[32];
	size_t n;

	for (; *list != '\0'; list += list[n] == '+' ? n + 1 : n) {
		for (n = 0; list[n] != '\0' && list[n] != '+'; n++)
			;
		crpie_strlcpy(word, list, n + 1 < sizeof(word) ? n + 1 : sizeof(word));
		if (known(word))
			continue;
		pr_err(ctx,
		       "allow=%s: there is no %s; it can be all, or, joined by +: libgcrypt nss node java perl "
		       "ruby php gnutls redis go stripped",
		       list, word);
		return -EINVAL;
	}
	return 0;
}

static const char *allowed(const struct crpie_ctx *ctx)
{
	const char *list = crpie_param(ctx, "allow");

	return list != NULL ? list : "";
}

/* Says that something is left, as an error unless it is allowed; returns 1 for an error. */
static int leave(const struct crpie_ctx *ctx, unsigned int i, const char *path)
{
	const char *word = unreached[i].word;

	if (listed(allowed(ctx), word) || listed(allowed(ctx), "all")) {
		pr_warn(ctx, "%s (%s) stays as it was dumped, and every clone shares it", unreached[i].what, path);
		return 0;
	}
	pr_err(ctx, "%s (%s) cannot be renewed, and every clone shares it: allow=%s goes on all the same",
	       unreached[i].what, path, word);
	return 1;
}

static int leave_word(const struct crpie_ctx *ctx, const char *word, const char *path)
{
	unsigned int i;

	for (i = 0; i < NR_UNREACHED; i++)
		if (unreached[i].file[0] == '\0' && crpie_strcmp(unreached[i].word, word) == 0)
			return leave(ctx, i, path);
	return 0;
}

/* libperl.so is in libperl.so.5.36 and perl in perl5.36, but node is not in node_exporter. */
static int is_file(const char *path, const char *name)
{
	const char *slash = crpie_strrchr(path, '/'), *file = slash != NULL ? slash + 1 : path;
	size_t len = crpie_strlen(name);

	return len != 0 && crpie_strncmp(file, name, len) == 0 && crpie_strchr(".-0123456789", file[len]) != NULL;
}

static int left_of_file(const struct crpie_ctx *ctx, const char *path)
{
	unsigned int i;

	for (i = 0; i < NR_UNREACHED; i++)
		if (is_file(path, unreached[i].file))
			return leave(ctx, i, path);
	return 0;
}

/* Of a Go program one of the mappings has .go.buildinfo, which begins so and is aligned to 16 (debug/buildinfo). */
static int is_go(const struct crpie_ctx *ctx, const char *path)
{
	static const char magic[] = "\xff Go buildinf:";
	uint64_t v, at, len;

	for (v = 0; v < ctx->nr_vmas; v++) {
		if (crpie_strcmp(ctx->vmas[v].name, path) != 0 || (ctx->vmas[v].prot & CRPIE_PROT_EXEC) != 0)
			continue;
		len = crpie_vma_readable(ctx, ctx->vmas[v].start, ctx->vmas[v].end - ctx->vmas[v].start);
		for (at = 0; at + 16 <= len; at += 16) /* an external linker lays C's data before it */
			if (crpie_memcmp((const void *)(uintptr_t)(ctx->vmas[v].start + at), magic,
					 sizeof(magic) - 1) == 0)
				return 1;
	}
	return 0;
}

static int is_nameless(const struct crpie_ctx *ctx, struct crpie_objects *it)
{
	struct crpie_symbol sym;

	return crpie_auxv(ctx, AT_BASE) == 0 && crpie_objects_symbol(ctx, it, "_start", &sym) != 0 &&
	       crpie_objects_symbol(ctx, it, "main", &sym) != 0 &&
	       crpie_objects_symbol(ctx, it, "runtime.main", &sym) != 0;
}

/* How many things of this object are left that must not be. */
static int left_of_object(const struct crpie_ctx *ctx, struct crpie_objects *it, int is_program)
{
	struct crpie_symbol server, init;
	int left = left_of_file(ctx, it->path);

	if (!is_program)
		return left;
	if (hides_gnutls(ctx, it))
		left += leave_word(ctx, "gnutls", it->path);
	if (find_redis(ctx, it, &server, &init) == 0)
		left += leave_word(ctx, "redis", it->path);
	if (is_go(ctx, it->path))
		return left + leave_word(ctx, "go", it->path);
	if (is_nameless(ctx, it))
		left += leave_word(ctx, "stripped", it->path);
	return left;
}

/* --- The hooks --- */

static const struct {
	char name[32];
	int (*renew)(const struct crpie_ctx *ctx, struct crpie_objects *it);
} generators[] = {
	{ "OpenSSL", renew_openssl },      { "GnuTLS", has_gnutls },
	{ "libc's random", renew_random }, { "libc's rand", renew_rand },
	{ "libc's rand48", renew_rand48 }, { "sqlite", renew_sqlite },
	{ "redis", renew_redis },          { "Python's random", renew_python },
};

static int renew_object(const struct crpie_ctx *ctx, struct crpie_objects *it, unsigned int *found)
{
	unsigned int i;

	for (i = 0; i < sizeof(generators) / sizeof(generators[0]); i++) {
		int err = generators[i].renew(ctx, it);

		if (err == NOT_HERE)
			continue;
		if (err < 0)
			return err;
		++*found;
		if (err != SKIPPED)
			pr_info(ctx, "renewed: %s (%s)", generators[i].name, it->path);
	}
	return 0;
}

/* What cannot be reached is found before the first call into the program. */
static int check_objects(const struct crpie_ctx *ctx)
{
	struct crpie_objects it = { 0 };
	int left = 0, is_program = 1;

	for (; crpie_objects_next(ctx, &it); is_program = 0)
		left += left_of_object(ctx, &it, is_program);
	return left == 0 ? 0 : -ENOSYS;
}

static int renew_objects(const struct crpie_ctx *ctx, unsigned int *found)
{
	struct crpie_objects it = { 0 };
	int err = 0;

	while (err == 0 && crpie_objects_next(ctx, &it))
		err = renew_object(ctx, &it, found);
	crpie_objects_end(&it);
	return err;
}

static int reseed(struct crpie_ctx *ctx)
{
	int *libc_errno = crpie_errno(ctx), kept = libc_errno != NULL ? *libc_errno : 0;
	unsigned int found = 0;
	int err = check_allow(ctx, allowed(ctx));

	if (err == 0)
		err = check_objects(ctx);
	if (err == 0)
		err = renew_objects(ctx, &found);
	if (libc_errno != NULL)
		*libc_errno = kept;
	if (err == 0 && found == 0)
		pr_info(ctx, "no generator that is known: nothing to do");
	return err;
}

static int reseed_thread(struct crpie_ctx *ctx)
{
	int *libc_errno = crpie_errno(ctx), kept = libc_errno != NULL ? *libc_errno : 0;
	struct crpie_objects it = { 0 };

	while (crpie_objects_next(ctx, &it)) {
		look_for_openssl(ctx, &it);
		renew_gnutls(ctx, &it);
	}
	if (libc_errno != NULL)
		*libc_errno = kept;
	return 0;
}

CR_PLUGIN_REGISTER_DUMMY("reseed")
CRPIE_PARAM_STR("allow", CRPIE_OPTIONAL, "what may stay as it was dumped, joined by +: node+go; all")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD, reseed_thread)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, reseed)
