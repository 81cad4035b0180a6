/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits that leave hardly any room: files of any size, memory, descriptors, locked memory, signals. CRIU
 * writes in the task when RLIMIT_FSIZE is in force already, which raises SIGXFSZ: the argument "plain" leaves that
 * limit out.
 */
#include "victim.h"

#include <sys/resource.h>
#include <sys/stat.h>

int victim_failures;

static const struct {
	int resource;
	const char *name;
} tight[] = {
	{ RLIMIT_AS, "AS" },
	{ RLIMIT_DATA, "DATA" },
	{ RLIMIT_NOFILE, "NOFILE" },
	{ RLIMIT_MEMLOCK, "MEMLOCK" },
	{ RLIMIT_SIGPENDING, "SIGPENDING" },
	{ RLIMIT_FSIZE, "FSIZE" },
};

static unsigned long kilobytes(const char *what)
{
	unsigned long kb = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, what, strlen(what)) == 0)
			kb = strtoul(line + strlen(what) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

/* So much that the line "READY" still fits into the output, and nothing after it. */
static rlim_t file_size(void)
{
	char line[32];
	struct stat st;

	MUST(fstat(1, &st) == 0);
	return S_ISREG(st.st_mode) ? (rlim_t)st.st_size + (rlim_t)snprintf(line, sizeof(line), "READY %d\n", getpid()) :
				     0;
}

#define PARASITE (4UL << 20) /* room for criu's code */

static rlim_t limit_of(int resource)
{
	switch (resource) {
	case RLIMIT_AS:
		return (kilobytes("VmSize:") << 10) + PARASITE;
	case RLIMIT_DATA:
		return (kilobytes("VmData:") << 10) + PARASITE;
	case RLIMIT_NOFILE:
		return 32;
	case RLIMIT_FSIZE:
		return file_size();
	default:
		return 0;
	}
}

static void check(unsigned int i, rlim_t want)
{
	struct rlimit now;

	CHECK(getrlimit(tight[i].resource, &now) == 0 && now.rlim_cur == want, "RLIMIT_%s is %ju, was %ju",
	      tight[i].name, (uintmax_t)now.rlim_cur, (uintmax_t)want);
}

int main(int argc, char **argv)
{
	rlim_t want[sizeof(tight) / sizeof(tight[0])];
	sigset_t excess, pending;
	struct rlimit limit;
	unsigned int i;
	int plain = argc > 1 && strcmp(argv[1], "plain") == 0;

	victim_begin();
	printf("limits\n");
	fflush(stdout);
	sigemptyset(&excess);
	sigaddset(&excess, SIGXFSZ);
	MUST(sigprocmask(SIG_BLOCK, &excess, NULL) == 0);
	for (i = 0; i < sizeof(tight) / sizeof(tight[0]); i++) {
		MUST(getrlimit(tight[i].resource, &limit) == 0);
		want[i] = plain && tight[i].resource == RLIMIT_FSIZE ? limit.rlim_cur : limit_of(tight[i].resource);
		limit.rlim_cur = want[i];
		MUST(setrlimit(tight[i].resource, &limit) == 0);
	}
	victim_wait();
	MUST(sigpending(&pending) == 0 && getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max; /* to report */
	check(i - 1, want[i - 1]);
	MUST(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(!sigismember(&pending, SIGXFSZ), "somebody wrote too much");
	while (--i > 0)
		check(i - 1, want[i - 1]);
	return victim_end();
}
