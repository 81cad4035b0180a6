/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vgetrandom [plain]: draws from the vDSO's getrandom as libraries do, in threads that never pause, with states in
 * droppable memory. Afterwards no state may be what it was, a forked child draws other bytes than its parent, a page
 * that is wiped in children is empty if it is still known as one, and memory that only looks alike is untouched.
 * "plain" does not mind states that are the old ones.
 */
#include "victim.h"

#include <elf.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

int victim_failures;

/* struct vgetrandom_opaque_params, linux/random.h */
struct params {
	uint32_t size, prot, flags, reserved[13];
};

typedef ssize_t (*draw_fn)(void *buffer, size_t len, unsigned int flags, void *state, size_t size);

#define STRIDE 192 /* of states: their size, rounded to cache lines */
#define THREADS 2
#define PAGE 4096

static draw_fn vdso;
static struct params params;
static char *states, copy[PAGE];
static unsigned long rounds[THREADS];
static int stop;

/* The function in the vDSO, by its symbol table; the vDSO has a DT_HASH, or no more than 64 symbols. */
static draw_fn find(const char *name)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR), *strings = NULL;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(base + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbol = NULL;
	const uint32_t *hash = NULL;

	for (int i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (const Elf64_Dyn *)(base + segment[i].p_offset);
	for (; dynamic && dynamic->d_tag; dynamic++) {
		if (dynamic->d_tag == DT_STRTAB)
			strings = base + dynamic->d_un.d_ptr;
		else if (dynamic->d_tag == DT_SYMTAB)
			symbol = (const Elf64_Sym *)(base + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_HASH)
			hash = (const uint32_t *)(base + dynamic->d_un.d_ptr);
	}
	MUST(symbol && strings);
	for (uint32_t i = 0, n = hash ? hash[1] : 16; i < n; i++)
		if (strcmp(strings + symbol[i].st_name, name) == 0)
			return (draw_fn)(base + symbol[i].st_value);
	return NULL;
}

static uint64_t draw(void *state)
{
	uint64_t value = 0;

	if (!vdso) { /* an old kernel's */
		MUST(getrandom(&value, sizeof(value), 0) == sizeof(value));
		return value;
	}
	MUST(vdso(&value, sizeof(value), 0, state, params.size) == sizeof(value));
	return value;
}

static void *drawing(void *arg)
{
	int i = (long)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		draw(states + (i + 1) * STRIDE);
		__atomic_fetch_add(&rounds[i], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Memory with the flags that older CRIUs give to droppable memory, but other contents; contents without the flags. */
enum { TEXT, NO_GENERATION, NO_KEY, TAIL, FULL_BATCH, DUMPABLE, READ_ONLY, EMPTY, NR_ALIKE };

static unsigned char *alike[NR_ALIKE], alike_before[NR_ALIKE][PAGE];

static void make_alike(int kind)
{
	unsigned char *p =
		mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	MUST(p != MAP_FAILED && munmap(p, PAGE) == 0 && munmap(p + 2 * PAGE, PAGE) == 0); /* no neighbours */
	alike[kind] = p += PAGE;
	if (kind != DUMPABLE)
		MUST(madvise(p, PAGE, MADV_DONTDUMP) == 0);
	if (kind == EMPTY)
		return;
	for (int i = 0; i < 8; i++)
		p[96 + i] = 0x11 * (i + 1); /* key */
	p[128] = 5;                         /* generation */
	p[136] = 40;                        /* position */
	for (int i = 40; i < 96; i++)
		p[i] = i; /* the batch from there on */
	if (kind == TEXT)
		strcpy((char *)p, "secret that is not to be in core files");
	if (kind == NO_GENERATION)
		p[128] = 0;
	if (kind == NO_KEY)
		memset(p + 96, 0, 32);
	if (kind == TAIL)
		p[PAGE - 1] = 1;
	if (kind == FULL_BATCH)
		p[7] = 1;
	if (kind == READ_ONLY)
		MUST(mprotect(p, PAGE, PROT_READ) == 0);
	memcpy(alike_before[kind], p, PAGE);
}

static unsigned char *wiped;

static void setup(pthread_t *threads)
{
	vdso = find("__vdso_getrandom");
	params = (struct params){ .size = 144, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE | MAP_ANONYMOUS };
	MUST(!vdso || vdso(NULL, 0, 0, &params, ~0ul) == 0);
	MUST((states = mmap(NULL, PAGE, params.prot, params.flags, -1, 0)) != MAP_FAILED);
	for (long i = 0; i < THREADS; i++)
		MUST(pthread_create(&threads[i], NULL, drawing, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		while (__atomic_load_n(&rounds[i], __ATOMIC_RELAXED) == 0)
			;
	for (int kind = 0; kind < NR_ALIKE; kind++)
		make_alike(kind);
	MUST((wiped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
	MUST(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0);
	wiped[0] = 77;
	draw(states);
	memcpy(copy, states, STRIDE);
}

/* What the image has would give these bytes, in every clone. */
static void check_clone(void)
{
	uint64_t mine = draw(states), theirs = draw(copy);

	printf("DREW %016lx\n", mine);
	CHECK(!vdso || mine != theirs, "every clone draws %016lx", mine);
}

static uint64_t in_child(uint64_t (*what)(void))
{
	uint64_t value = 0;
	int pipes[2], status;
	pid_t pid;

	MUST(pipe(pipes) == 0 && (pid = fork()) >= 0);
	if (pid == 0) {
		value = what();
		_exit(write(pipes[1], &value, sizeof(value)) != sizeof(value));
	}
	MUST(waitpid(pid, &status, 0) == pid && status == 0);
	MUST(read(pipes[0], &value, sizeof(value)) == sizeof(value));
	close(pipes[0]);
	close(pipes[1]);
	return value;
}

static uint64_t draw_first(void)
{
	return draw(states);
}

static void check_fork(void)
{
	uint64_t child = in_child(draw_first), parent = draw(states);

	CHECK(parent != child, "a child draws its parent's %016lx", parent);
}

/* The flags of a mapping in /proc/self/smaps, proc_pid_smaps(5). */
static int has_flag(const void *at, const char *flag)
{
	char line[512], start[32];
	int there = 0, found = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	MUST(f);
	snprintf(start, sizeof(start), "%08lx-", (long)at);
	while (fgets(line, sizeof(line), f)) {
		if (strchr(line, '-') && strncmp(line, start, strlen(start)) == 0)
			there = 1;
		if (there && strncmp(line, "VmFlags:", 8) == 0) {
			found = strstr(line, flag) != NULL;
			break;
		}
	}
	fclose(f);
	return found;
}

static uint64_t first_wiped(void)
{
	return wiped[0];
}

/* CRIU 4.1 forgets the mark. */
static void check_wiped(void)
{
	int marked = has_flag(wiped, " wf");

	CHECK(wiped[0] == (marked ? 0 : 77), "the page that is wiped in children (known: %d) has %d", marked, wiped[0]);
	wiped[0] = 78;
	CHECK(in_child(first_wiped) == (marked ? 0 : 78), "a child sees the page that is wiped in children");
}

static void check_alike(void)
{
	for (int kind = 0; kind < NR_ALIKE; kind++)
		CHECK(memcmp(alike[kind], alike_before[kind], PAGE) == 0 && !has_flag(alike[kind], " dp"),
		      "memory that looks alike (%d) was wiped", kind);
}

int main(int argc, char **argv)
{
	int plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	pthread_t threads[THREADS];
	unsigned long before;

	victim_begin();
	setup(threads);
	victim_wait();
	if (!plain) {
		check_clone();
		check_fork();
		check_wiped();
		CHECK(!vdso || has_flag(states, " dp"), "states are not in droppable memory");
	}
	check_alike();
	for (int i = 0; i < THREADS; i++) {
		before = __atomic_load_n(&rounds[i], __ATOMIC_RELAXED);
		while (__atomic_load_n(&rounds[i], __ATOMIC_RELAXED) < before + 1000)
			;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return victim_end();
}
