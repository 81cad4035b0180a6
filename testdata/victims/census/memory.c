/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings: one for each thing that the kernel keeps about a mapping. */
#include "census.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define PAGE 4096ul
#define SIZE (8 * PAGE)

static int advise(char *at, int advice)
{
	return madvise(at, SIZE, advice) == 0;
}
static int lock(char *at, int flag)
{
	return syscall(SYS_mlock2, at, SIZE, flag) == 0;
}
static int give_name(char *at, int what)
{
	return prctl(0x53564d41 /* PR_SET_VMA */, what, at, SIZE, "census") == 0;
}
static int seal(char *at, int unused)
{
	return syscall(462 /* mseal */, at, SIZE, unused) == 0;
}

static int bind_memory(char *at, int mode)
{
	unsigned long node = 1;

	return syscall(SYS_mbind, at, SIZE, mode, &node, 64, 0) == 0;
}

static int home(char *at, int mode)
{
	return bind_memory(at, mode) && syscall(450 /* set_mempolicy_home_node */, at, SIZE, 0, 0) == 0;
}

static int key_of_its_own(char *at, int unused)
{
	int key = pkey_alloc(0, PKEY_DISABLE_WRITE);

	return key >= 0 && pkey_mprotect(at, SIZE, PROT_READ | PROT_WRITE, key) == unused;
}

static struct mapping {
	const char *name;
	int flags, (*set)(char *at, int argument), argument;
	char *at;
} mappings[] = {
	{ "plain", MAP_PRIVATE, NULL, 0, 0 },
	{ "MAP_NORESERVE", MAP_PRIVATE | MAP_NORESERVE, NULL, 0, 0 },
	{ "MAP_GROWSDOWN", MAP_PRIVATE | MAP_GROWSDOWN, NULL, 0, 0 },
	{ "MAP_LOCKED", MAP_PRIVATE | MAP_LOCKED, NULL, 0, 0 },
	{ "MAP_SHARED", MAP_SHARED, NULL, 0, 0 },
	{ "MAP_DROPPABLE", 0x08, NULL, 0, 0 },
	{ "MADV_RANDOM", MAP_PRIVATE, advise, MADV_RANDOM, 0 },
	{ "MADV_SEQUENTIAL", MAP_PRIVATE, advise, MADV_SEQUENTIAL, 0 },
	{ "MADV_DONTFORK", MAP_PRIVATE, advise, MADV_DONTFORK, 0 },
	{ "MADV_DONTDUMP", MAP_PRIVATE, advise, MADV_DONTDUMP, 0 },
	{ "MADV_HUGEPAGE", MAP_PRIVATE, advise, MADV_HUGEPAGE, 0 },
	{ "MADV_NOHUGEPAGE", MAP_PRIVATE, advise, MADV_NOHUGEPAGE, 0 },
	{ "MADV_MERGEABLE", MAP_PRIVATE, advise, MADV_MERGEABLE, 0 },
	{ "MADV_WIPEONFORK", MAP_PRIVATE, advise, MADV_WIPEONFORK, 0 },
	{ "MADV_RANDOM, shared", MAP_SHARED, advise, MADV_RANDOM, 0 },
	{ "MADV_DONTFORK, shared", MAP_SHARED, advise, MADV_DONTFORK, 0 },
	{ "mlock", MAP_PRIVATE, lock, 0, 0 },
	{ "MLOCK_ONFAULT", MAP_PRIVATE, lock, 1, 0 },
	{ "PR_SET_VMA", MAP_PRIVATE, give_name, 0, 0 },
	{ "mbind", MAP_PRIVATE, bind_memory, MPOL_BIND, 0 },
	{ "mbind, shared", MAP_SHARED, bind_memory, MPOL_INTERLEAVE, 0 },
	{ "home node", MAP_PRIVATE, home, MPOL_BIND, 0 },
	{ "pkey_mprotect", MAP_PRIVATE, key_of_its_own, 0, 0 },
	{ "mseal", MAP_PRIVATE, seal, 0, 0 },
};
#define NR_MAPPINGS (sizeof(mappings) / sizeof(mappings[0]))

/* Room between them keeps neighbours from becoming one. */
static char *map(int flags)
{
	char *room = mmap(NULL, 600 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = room + 300 * PAGE;

	MUST(room != MAP_FAILED && munmap(room, 600 * PAGE) == 0);
	return mmap(at, SIZE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

void set_memory(void)
{
	char key[64];

	for (size_t i = 0; i < NR_MAPPINGS; i++) {
		struct mapping *m = &mappings[i];

		m->at = map(m->flags);
		snprintf(key, sizeof(key), "memory %s", m->name);
		SET(key, m->at != MAP_FAILED);
		if (m->at == MAP_FAILED)
			continue;
		fill(m->at, PAGE, i);
		if (m->set && !m->set(m->at, m->argument)) {
			lacks(key);
			snprintf(key, sizeof(key), "policy of memory %s", m->name);
			lacks(key);
		}
	}
	SET("memory yet to come", mlockall(MCL_FUTURE | 4 /* MCL_ONFAULT */) == 0);
}

/* One line of /proc/self/smaps or numa_maps says what a mapping has: everything but numbers of pages. */
static void line_of(const char *path, const char *start, const char *word, char *text, size_t size)
{
	char line[512];
	FILE *file = fopen(path, "r");
	int found = 0;

	*text = 0;
	while (file && fgets(line, sizeof(line), file)) {
		found |= strncmp(line, start, strlen(start)) == 0;
		if (found && strncmp(line, word, strlen(word)) == 0) {
			snprintf(text, size, "%.*s", (int)strcspn(line + strlen(word), "\n"), line + strlen(word));
			break;
		}
	}
	if (file)
		fclose(file);
}

static void without(char *text, const char *word)
{
	char *at = strstr(text, word);

	if (at)
		memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

static void tell_mapping(const struct mapping *m)
{
	char start[32], flags[128], header[256], protection[64], policy[128], key[64], *name;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)m->at);
	line_of("/proc/self/smaps", start, "VmFlags:", flags, sizeof(flags));
	without(flags, " sd");
	line_of("/proc/self/smaps", start, start, header, sizeof(header));
	line_of("/proc/self/smaps", start, "ProtectionKey:", protection, sizeof(protection));
	snprintf(start, sizeof(start), "%lx ", (unsigned long)m->at);
	line_of("/proc/self/numa_maps", start, start, policy, sizeof(policy));
	policy[strcspn(policy, " ")] = 0;
	snprintf(key, sizeof(key), "memory %s", m->name);
	name = strchr(header, '[');
	fact(key, "%s %.18s%s, protection key%s", flags, header, name ? name : "", protection);
	snprintf(key, sizeof(key), "policy of memory %s", m->name);
	if (m->set == bind_memory || m->set == home)
		fact(key, "%s", policy);
	if (m->flags != 0x08 /* whose contents may vanish */)
		check_fill(m->name, m->at, PAGE, m - mappings);
}

void tell_memory(void)
{
	char start[32], flags[128];
	char *fresh;

	for (size_t i = 0; i < NR_MAPPINGS; i++)
		if (mappings[i].at != MAP_FAILED)
			tell_mapping(&mappings[i]);
	fresh = map(MAP_PRIVATE);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)fresh);
	line_of("/proc/self/smaps", start, "VmFlags:", flags, sizeof(flags));
	without(flags, " sd");
	fact("memory yet to come", "%s", flags);
	munmap(fresh, SIZE);
}
