/* SPDX-License-Identifier: Apache-2.0 */
#include "parts.h"
#include <stdbool.h>
#include <fcntl.h>
#include <fenv.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct rlimit nofile = { 200, 300 }, core = { 0, 0 }, stack = { 4 << 20, 64 << 20 };
static pid_t pid, sid, pgid;
static bool audit;

static void write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

void attrs_setup(void)
{
	struct sched_param param = { 0 };

	pid = getpid();
	sid = getsid(0);
	pgid = getpgid(0);
	MUST(prctl(PR_SET_NAME, "glibc (victim) x") == 0);
	MUST(setpriority(PRIO_PROCESS, 0, 7) == 0);
	MUST(sched_setscheduler(0, SCHED_BATCH, &param) == 0);
	write_proc("/proc/self/oom_score_adj", "123");
	audit = access("/proc/self/loginuid", F_OK) == 0; /* CONFIG_AUDIT */
	if (audit)
		write_proc("/proc/self/loginuid", "4321");
	MUST(setrlimit(RLIMIT_NOFILE, &nofile) == 0 && setrlimit(RLIMIT_CORE, &core) == 0);
	MUST(setrlimit(RLIMIT_STACK, &stack) == 0);
	MUST(prctl(PR_SET_PDEATHSIG, SIGWINCH) == 0);
	MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	MUST(fesetround(FE_UPWARD) == 0);
}

static void check_rlimit(const char *name, int which, const struct rlimit *want)
{
	struct rlimit got;

	getrlimit(which, &got);
	CHECK(got.rlim_cur == want->rlim_cur && got.rlim_max == want->rlim_max, "%s is %lu %lu", name, got.rlim_cur,
	      got.rlim_max);
}

void attrs_verify(void)
{
	char name[16], adj[16];
	int signal = -1, subreaper = -1;
	volatile double one = 1, three = 3;

	CHECK(fegetround() == FE_UPWARD && one / three * three > 1, "rounding mode is %d", fegetround());
	CHECK(getpid() == pid && getsid(0) == sid && getpgid(0) == pgid, "pid %d session %d group %d, were %d %d %d",
	      getpid(), getsid(0), getpgid(0), pid, sid, pgid);
	prctl(PR_GET_NAME, name);
	CHECK(strcmp(name, "glibc (victim) ") == 0, "name is %s", name);
	CHECK(getpriority(PRIO_PROCESS, 0) == 7, "nice is %d", getpriority(PRIO_PROCESS, 0));
	CHECK(sched_getscheduler(0) == SCHED_BATCH, "scheduler is %d", sched_getscheduler(0));
	read_proc("/proc/self/oom_score_adj", adj, sizeof(adj));
	CHECK(strcmp(adj, "123\n") == 0, "oom_score_adj is %s", adj);
	if (audit) {
		read_proc("/proc/self/loginuid", adj, sizeof(adj));
		CHECK(strcmp(adj, "4321") == 0, "loginuid is %s", adj);
	}
	check_rlimit("RLIMIT_NOFILE", RLIMIT_NOFILE, &nofile);
	check_rlimit("RLIMIT_CORE", RLIMIT_CORE, &core);
	check_rlimit("RLIMIT_STACK", RLIMIT_STACK, &stack);
	prctl(PR_GET_PDEATHSIG, &signal);
	CHECK(signal == SIGWINCH, "parent death signal is %d", signal);
	CHECK(prctl(PR_GET_DUMPABLE) == 0, "dumpable is %d", prctl(PR_GET_DUMPABLE));
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs is off");
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	CHECK(subreaper == 1, "child subreaper is %d", subreaper);
}
