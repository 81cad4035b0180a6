/* SPDX-License-Identifier: Apache-2.0 */
/* What a process has, and what each of its threads has. */
#include "census.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/* Newer than the headers of some distributions. */
#define MY_PR_SET_IO_FLUSHER 57
#define MY_PR_GET_IO_FLUSHER 58
#define MY_PR_SET_SYSCALL_USER_DISPATCH 59
#define MY_PR_SCHED_CORE 62
#define MY_PR_SET_MEMORY_MERGE 67
#define MY_PR_GET_MEMORY_MERGE 68
#define MY_PR_FUTEX_HASH 78
#define MY_ARCH_GET_UNTAG_MASK 0x4001
#define MY_ARCH_ENABLE_TAGGED_ADDR 0x4002
#define MY_ARCH_GET_XCOMP_PERM 0x1022
#define MY_ARCH_REQ_XCOMP_PERM 0x1023
#define MY_SA_EXPOSE_TAGBITS 0x800
#define MY_SS_AUTODISARM ((int)(1u << 31))

/* struct sched_attr of sched_setattr(2), with utilisation clamps */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static void text_of(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	text[n < 0 ? 0 : n] = 0;
	text[strcspn(text, "\n")] = 0;
	if (fd >= 0)
		close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void fact_text(const char *key, const char *path)
{
	char text[256];

	text_of(path, text, sizeof(text));
	fact(key, "%s", text);
}

static void burn(void)
{
	struct timespec used;

	do {
		syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &used);
	} while (used.tv_sec == 0 && used.tv_nsec < 300000000);
}

/* landlock(7): no fifos are made below the working directory, or elsewhere. */
static int forbid_fifos(void)
{
	const uint64_t handled = 1 << 10; /* LANDLOCK_ACCESS_FS_MAKE_FIFO */
	int ruleset = syscall(444, &handled, sizeof(handled), 0);
	int ok = ruleset >= 0 && syscall(446, ruleset, 0) == 0;

	if (ruleset >= 0)
		close(ruleset);
	return ok;
}

static volatile char dispatch_selector;
static volatile int dispatched;

static void on_sys(int sig)
{
	(void)sig;
	dispatch_selector = 0; /* SYSCALL_DISPATCH_FILTER_ALLOW, also for sigreturn */
	dispatched = 1;
}

static void set_caps(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	MUST(syscall(SYS_capget, &header, caps) == 0);
	caps[0].inheritable |= 1 << CAP_KILL;
	MUST(syscall(SYS_capset, &header, caps) == 0);
	MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
}

static void set_scheduling(int second)
{
	struct attr a = { .size = sizeof(a),
			  .policy = second ? SCHED_BATCH : SCHED_OTHER,
			  .nice = 3 + second,
			  .flags = 1 /* RESET_ON_FORK */,
			  .runtime = 5000000 };
	struct attr now = { 0 };
	struct attr clamp = { .size = sizeof(clamp),
			      .flags = 0x60 /* clamps */ | 0x18 /* keep the rest */,
			      .util_min = 10,
			      .util_max = 900 };
	unsigned long cpu = 1 << second;

	MUST(syscall(SYS_sched_setattr, 0, &a, 0) == 0 && syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0) == 0);
	SET("sched_attr slice", now.runtime == a.runtime); /* Linux 6.12 */
	SET("sched_attr clamps", syscall(SYS_sched_setattr, 0, &clamp, 0) == 0);
	SET("affinity", sysconf(_SC_NPROCESSORS_ONLN) > 1 && syscall(SYS_sched_setaffinity, 0, sizeof(cpu), &cpu) == 0);
	MUST(syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, 2 << 13 | (5 + second)) == 0);
	SET("core scheduling", prctl(MY_PR_SCHED_CORE, 1 /* PR_SCHED_CORE_CREATE */, 0, 0, 0) == 0);
}

static void set_keys(void)
{
	long session = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "census");

	SET("session keyring", session >= 0);
	SET("thread keyring", syscall(SYS_add_key, "user", "census", "x", 1, KEY_SPEC_THREAD_KEYRING) >= 0);
	SET("default keyring", syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_SESSION_KEYRING) >= 0);
}

static void tell_keyring(const char *name, int keyring)
{
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, keyring, "user", "census", 0);

	fact(name, "%s", key >= 0 ? "has a key" : "no key");
}

static void tell_keys(void)
{
	char description[128] = "";

	syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, description, sizeof(description) - 1);
	fact("session keyring", "%s", description);
	tell_keyring("thread keyring", KEY_SPEC_THREAD_KEYRING);
	fact("default keyring", "%ld", syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE));
}

static char alternate[2][32768];

/* What only the second thread has: it calls nothing that reads the time or asks for the CPU. */
static void set_traps(void)
{
	SET("PR_GET_TSC", prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
	SET("ARCH_GET_CPUID", syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0);
	signal(SIGSYS, on_sys);
	SET("system call dispatch", prctl(MY_PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &dispatch_selector) == 0);
	SET("landlock", forbid_fifos());
}

static void tell_traps(void)
{
	int tsc = 0;

	prctl(PR_GET_TSC, &tsc);
	fact("PR_GET_TSC", "%d", tsc);
	fact("ARCH_GET_CPUID", "%ld", syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0));
	dispatched = 0;
	dispatch_selector = 1; /* SYSCALL_DISPATCH_FILTER_BLOCK */
	syscall(SYS_gettid);
	dispatch_selector = 0;
	fact("system call dispatch", "%d", dispatched);
	fact("landlock", "%s", mkfifo("forbidden", 0600) == 0 ? "fifo made" : strerror(errno));
	unlink("forbidden");
}

void set_thread(int second)
{
	stack_t stack = { .ss_sp = alternate[second], .ss_size = sizeof(alternate[0]), .ss_flags = MY_SS_AUTODISARM };
	unsigned long node = 1;
	sigset_t mask;

	MUST(prctl(PR_SET_NAME, second ? "census-second" : "census-first") == 0);
	MUST(prctl(PR_SET_TIMERSLACK, 123456 + second) == 0);
	MUST(prctl(PR_SET_PDEATHSIG, second ? SIGURG : SIGWINCH) == 0);
	MUST(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP) == 0);
	SET("PR_MCE_KILL_GET",
	    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, second ? PR_MCE_KILL_LATE : PR_MCE_KILL_EARLY, 0, 0) == 0);
	for (int kind = 0; kind < 3; kind++) {
		char key[32];

		snprintf(key, sizeof(key), "PR_GET_SPECULATION_CTRL %d", kind);
		SET(key, prctl(PR_SET_SPECULATION_CTRL, kind, kind == 2 ? PR_SPEC_ENABLE : PR_SPEC_DISABLE, 0, 0) == 0);
	}
	set_caps();
	set_scheduling(second);
	set_keys();
	SET("memory policy", syscall(SYS_set_mempolicy, second ? MPOL_INTERLEAVE : MPOL_BIND, &node, 64) == 0);
	MUST(syscall(SYS_sigaltstack, &stack, NULL) == 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN + 3);
	sigaddset(&mask, SIGRTMIN + 4);
	sigaddset(&mask, SIGRTMIN + 6 + second);
	MUST(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
	burn();
	if (second)
		set_traps();
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void tell_scheduling(void)
{
	struct attr a = { 0 };
	unsigned long cpus[16] = { 0 };

	syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0);
	fact("sched_attr policy", "%d priority %u nice %d", a.policy, a.priority, a.nice);
	fact("sched_attr flags", "%#lx", a.flags);
	fact("sched_attr slice", "%lu", a.runtime);
	fact("sched_attr clamps", "%u-%u", a.util_min, a.util_max);
	syscall(SYS_sched_getaffinity, 0, sizeof(cpus), cpus);
	fact("affinity", "%#lx", cpus[0]);
	fact("ioprio", "%#lx", syscall(SYS_ioprio_get, 1, 0));
	{
		uint64_t cookie = 0;

		prctl(MY_PR_SCHED_CORE, 0 /* PR_SCHED_CORE_GET */, 0, 0, &cookie);
		fact("core scheduling", "%s", cookie ? "cookie" : "none");
	}
}

static void tell_memory_policy(void)
{
	unsigned long nodes[16] = { 0 };
	int mode = 0;

	syscall(SYS_get_mempolicy, &mode, nodes, sizeof(nodes) * 8, 0, 0);
	fact("memory policy", "%#x nodes %#lx", mode, nodes[0]);
}

void tell_thread(void)
{
	struct timespec used = { 0 };
	stack_t stack;
	uint64_t mask = 0, robust = 0, robust_size = 0, tid_address = 0;
	char name[16];
	int pdeath = 0;

	prctl(PR_GET_NAME, name);
	fact("PR_GET_NAME", "%s", name);
	fact("personality", "%#x", personality(0xffffffff));
	fact("PR_GET_TIMERSLACK", "%d", prctl(PR_GET_TIMERSLACK));
	prctl(PR_GET_PDEATHSIG, &pdeath);
	fact("PR_GET_PDEATHSIG", "%d", pdeath);
	fact("PR_GET_SECUREBITS", "%#x", prctl(PR_GET_SECUREBITS));
	fact("PR_GET_KEEPCAPS", "%d", prctl(PR_GET_KEEPCAPS));
	fact("PR_GET_NO_NEW_PRIVS", "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	fact("PR_CAP_AMBIENT", "%d", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
	fact("PR_MCE_KILL_GET", "%d", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
	for (int kind = 0; kind < 3; kind++) {
		char key[32];

		snprintf(key, sizeof(key), "PR_GET_SPECULATION_CTRL %d", kind);
		fact(key, "%d", prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0));
	}
	tell_scheduling();
	tell_keys();
	tell_memory_policy();
	syscall(SYS_sigaltstack, NULL, &stack);
	fact("alternate stack", "%p %zu %#x", stack.ss_sp, stack.ss_size, stack.ss_flags);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	fact("signal mask", "%#lx", mask);
	syscall(SYS_get_robust_list, 0, &robust, &robust_size);
	fact("robust list", "%#lx %lu", robust, robust_size);
	prctl(PR_GET_TID_ADDRESS, &tid_address);
	fact("TID address", "%#lx", tid_address);
	syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &used);
	fact("CPU time", "%s", used.tv_sec > 0 || used.tv_nsec >= 300000000 ? "used" : "new");
	if (*who)
		tell_traps();
}

static const struct {
	const char *name;
	int resource;
	rlim_t soft;
} limits[] = {
	{ "CPU", RLIMIT_CPU, 1 << 20 },          { "FSIZE", RLIMIT_FSIZE, 1l << 41 },
	{ "DATA", RLIMIT_DATA, 1l << 42 },       { "STACK", RLIMIT_STACK, 16 << 20 },
	{ "CORE", RLIMIT_CORE, 1 << 20 },        { "RSS", RLIMIT_RSS, 1l << 40 },
	{ "NPROC", RLIMIT_NPROC, 1 << 14 },      { "NOFILE", RLIMIT_NOFILE, 1000 },
	{ "MEMLOCK", RLIMIT_MEMLOCK, 1 << 30 },  { "AS", RLIMIT_AS, 1l << 44 },
	{ "LOCKS", RLIMIT_LOCKS, 77 },           { "SIGPENDING", RLIMIT_SIGPENDING, 5000 },
	{ "MSGQUEUE", RLIMIT_MSGQUEUE, 700000 }, { "NICE", RLIMIT_NICE, 0 },
	{ "RTPRIO", RLIMIT_RTPRIO, 0 },          { "RTTIME", RLIMIT_RTTIME, 1 << 30 },
};
#define NR_LIMITS (sizeof(limits) / sizeof(limits[0]))

static const struct {
	const char *name;
	clockid_t clock;
} clocks[] = {
	{ "CLOCK_REALTIME", CLOCK_REALTIME },
	{ "CLOCK_MONOTONIC", CLOCK_MONOTONIC },
	{ "CLOCK_BOOTTIME", CLOCK_BOOTTIME },
	{ "CLOCK_TAI", CLOCK_TAI },
	{ "CLOCK_PROCESS_CPUTIME_ID", CLOCK_PROCESS_CPUTIME_ID },
	{ "CLOCK_REALTIME_ALARM", CLOCK_REALTIME_ALARM },
	{ "CLOCK_BOOTTIME_ALARM", CLOCK_BOOTTIME_ALARM },
};
#define NR_CLOCKS (sizeof(clocks) / sizeof(clocks[0]))

static int timers[NR_CLOCKS];

static void set_timers(void)
{
	const struct itimerspec every = { { 3600, 5 }, { 360000, 0 } };
	const struct itimerval interval = { { 3600, 0 }, { 360000, 0 } };

	for (size_t i = 0; i < NR_CLOCKS; i++) {
		struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5 };

		if (syscall(SYS_timer_create, clocks[i].clock, &event, &timers[i]) != 0) {
			timers[i] = -1;
			lacks(clocks[i].name);
			continue;
		}
		MUST(syscall(SYS_timer_settime, timers[i], 0, &every, NULL) == 0);
	}
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++)
		MUST(setitimer(which, &interval, NULL) == 0);
}

static long hours(long seconds)
{
	return (seconds + 1800) / 3600;
}

static void tell_timers(void)
{
	char key[32];

	for (size_t i = 0; i < NR_CLOCKS; i++) {
		struct itimerspec left = { { 0, 0 }, { 0, 0 } };

		if (timers[i] >= 0)
			syscall(SYS_timer_gettime, timers[i], &left);
		fact(clocks[i].name, "every %ld s, %ld hours left", left.it_interval.tv_sec,
		     hours(left.it_value.tv_sec));
	}
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		struct itimerval left;

		getitimer(which, &left);
		snprintf(key, sizeof(key), "ITIMER %d", which);
		fact(key, "every %ld s, %ld hours left", left.it_interval.tv_sec, hours(left.it_value.tv_sec));
	}
}

struct action {
	uint64_t handler, flags, restorer, mask;
};

static void nothing(int sig)
{
	(void)sig;
}

static void set_signals(void)
{
	struct sigaction act = { .sa_handler = nothing,
				 .sa_flags =
					 SA_NODEFER | SA_RESETHAND | SA_RESTART | SA_ONSTACK | MY_SA_EXPOSE_TAGBITS };
	struct sigaction child = { .sa_handler = nothing, .sa_flags = SA_NOCLDSTOP | SA_NOCLDWAIT };
	siginfo_t info = { .si_signo = SIGRTMIN + 3, .si_code = SI_QUEUE };

	sigaddset(&act.sa_mask, SIGUSR2);
	MUST(sigaction(SIGHUP, &act, NULL) == 0 && sigaction(SIGCHLD, &child, NULL) == 0);
	MUST(signal(SIGPIPE, SIG_IGN) != SIG_ERR && signal(SIGTRAP, SIG_IGN) != SIG_ERR);
	MUST(signal(SIGRTMIN + 5, nothing) != SIG_ERR);
	for (int i = 0; i < 3; i++) {
		info.si_pid = 10 + i, info.si_uid = 20 + i, info.si_value.sival_ptr = (void *)(30l + i);
		info.si_code = i == 2 ? SI_ASYNCIO : SI_QUEUE;
		MUST(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 3, &info) == 0);
		MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGRTMIN + 3, &info) == 0);
	}
}

/* Takes what waits out of the queues, the thread's first, and puts it back. */
static void tell_pending(void)
{
	siginfo_t info[6];
	sigset_t set;
	char key[32];

	memset(info, 0, sizeof(info));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	for (int i = 0; i < 6; i++) {
		sigtimedwait(&set, &info[i], &(struct timespec){ 0, 0 });
		snprintf(key, sizeof(key), "pending signal %d", i);
		fact(key, "%d code %d pid %d uid %d value %p", info[i].si_signo, info[i].si_code, info[i].si_pid,
		     info[i].si_uid, info[i].si_value.sival_ptr);
	}
	for (int i = 0; i < 3; i++) {
		syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGRTMIN + 3, &info[i]);
		syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 3, &info[3 + i]);
	}
}

static void tell_signals(void)
{
	char key[32];

	for (int sig = 1; sig <= 64; sig++) {
		struct action act = { 0, 0, 0, 0 };

		syscall(SYS_rt_sigaction, sig, NULL, &act, 8);
		snprintf(key, sizeof(key), "signal action %d", sig);
		fact(key, "%#lx flags %#lx restorer %#lx mask %#lx", act.handler, act.flags, act.restorer, act.mask);
	}
	tell_pending();
}

/* What all threads have alike, or what cannot be had when there are several. */
void set_before_threads(void)
{
	MUST(personality(ADDR_NO_RANDOMIZE | SHORT_INODE | UNAME26) >= 0);
	SET("ARCH_GET_UNTAG_MASK", syscall(SYS_arch_prctl, MY_ARCH_ENABLE_TAGGED_ADDR, 6) == 0);
	SET("ARCH_GET_XCOMP_PERM", syscall(SYS_arch_prctl, MY_ARCH_REQ_XCOMP_PERM, 18 /* tile data of AMX */) == 0);
}

void set_process(void)
{
	umask(0137);
	for (size_t i = 0; i < NR_LIMITS; i++) {
		struct rlimit now;

		MUST(getrlimit(limits[i].resource, &now) == 0);
		now.rlim_cur = limits[i].soft < now.rlim_max ? limits[i].soft : now.rlim_max;
		MUST(setrlimit(limits[i].resource, &now) == 0);
	}
	MUST(put("/proc/self/oom_score_adj", "77"));
	SET("coredump_filter", put("/proc/self/coredump_filter", "0x7f"));
	SET("autogroup", put("/proc/self/autogroup", "5"));
	SET("PR_GET_IO_FLUSHER", prctl(MY_PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0);
	SET("PR_GET_THP_DISABLE", prctl(PR_SET_THP_DISABLE, 1, 1 << 1 /* but where advised, Linux 6.18 */, 0, 0) == 0);
	SET("PR_GET_MEMORY_MERGE", prctl(MY_PR_SET_MEMORY_MERGE, 1, 0, 0, 0) == 0);
	SET("PR_GET_MDWE", prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) == 0);
	SET("PR_FUTEX_HASH", prctl(MY_PR_FUTEX_HASH, 1 /* PR_FUTEX_HASH_SET_SLOTS */, 32, 0, 0) == 0);
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	SET("process keyring", syscall(SYS_add_key, "user", "census", "x", 1, KEY_SPEC_PROCESS_KEYRING) >= 0);
	SET("membarrier", syscall(SYS_membarrier, 1 << 4 /* REGISTER_PRIVATE_EXPEDITED */, 0, 0) == 0);
	set_timers();
	set_signals();
	MUST(prctl(PR_SET_DUMPABLE, 0) == 0);
}

static void tell_start(void)
{
	char stat[1024], *word;
	struct rusage used;
	long us;

	text_of("/proc/self/stat", stat, sizeof(stat));
	word = strrchr(stat, ')');
	for (int field = 2; field < 22 && word; field++)
		word = strchr(word + 1, ' ');
	fact("start time", "%.*s", (int)strcspn(word + 1, " "), word + 1);
	getrusage(RUSAGE_SELF, &used);
	us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
	fact("resource usage", "%s", us > 500000 ? "used" : "new");
}

void tell_process(void)
{
	mode_t mask = umask(0);
	char key[32], own[64], childrens[64];
	uint64_t untag = 0, xcomp = 0;
	ssize_t n;
	int reaper = 0;

	umask(mask);
	fact("umask", "%#o", mask);
	for (size_t i = 0; i < NR_LIMITS; i++) {
		struct rlimit now;

		getrlimit(limits[i].resource, &now);
		snprintf(key, sizeof(key), "RLIMIT_%s", limits[i].name);
		fact(key, "%lu %lu", now.rlim_cur, now.rlim_max);
	}
	fact_text("oom_score_adj", "/proc/self/oom_score_adj");
	fact_text("coredump_filter", "/proc/self/coredump_filter");
	fact_text("loginuid", "/proc/self/loginuid");
	text_of("/proc/self/autogroup", own, sizeof(own));
	fact("autogroup", "%s", strchr(own, ' ') ? strchr(own, ' ') : "");
	fact("PR_GET_IO_FLUSHER", "%d", prctl(MY_PR_GET_IO_FLUSHER, 0, 0, 0, 0));
	fact("PR_GET_THP_DISABLE", "%d", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	fact("PR_GET_MEMORY_MERGE", "%d", prctl(MY_PR_GET_MEMORY_MERGE, 0, 0, 0, 0));
	syscall(SYS_arch_prctl, MY_ARCH_GET_UNTAG_MASK, &untag);
	fact("ARCH_GET_UNTAG_MASK", "%#lx", untag);
	syscall(SYS_arch_prctl, MY_ARCH_GET_XCOMP_PERM, &xcomp);
	fact("ARCH_GET_XCOMP_PERM", "%#lx", xcomp);
	fact("PR_GET_MDWE", "%d", prctl(66, 0, 0, 0, 0));
	fact("PR_FUTEX_HASH", "%d", prctl(MY_PR_FUTEX_HASH, 2 /* PR_FUTEX_HASH_GET_SLOTS */, 0, 0, 0));
	fact("PR_GET_DUMPABLE", "%d", prctl(PR_GET_DUMPABLE));
	prctl(PR_GET_CHILD_SUBREAPER, &reaper);
	fact("PR_GET_CHILD_SUBREAPER", "%d", reaper);
	tell_keyring("process keyring", KEY_SPEC_PROCESS_KEYRING);
	fact("membarrier", "%#lx", syscall(SYS_membarrier, 512 /* GET_REGISTRATIONS */, 0, 0));
	fact("priority of the group", "%d", getpriority(PRIO_PGRP, 0));
	n = readlink("/proc/self/ns/time", own, sizeof(own) - 1), own[n < 0 ? 0 : n] = 0;
	n = readlink("/proc/self/ns/time_for_children", childrens, sizeof(childrens) - 1), childrens[n < 0 ? 0 : n] = 0;
	fact("time namespace of children", "%s", strcmp(own, childrens) == 0 ? "the same" : "another");
	fact("program break", "%p", sbrk(0));
	tell_timers();
	tell_signals();
	tell_start();
}
