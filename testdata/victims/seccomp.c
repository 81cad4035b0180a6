/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that gave up what it could: user and groups changed with most capabilities gone, securebits and bounding set
 * narrowed, no_new_privs, and two seccomp filters on top of each other. Start it as root. With the argument "denied"
 * two more filters deny calls that a graft needs: sigaltstack(2) and clone(2).
 */
#include "victim.h"
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int victim_failures;

#define KEPT (1u << CAP_CHOWN | 1u << CAP_NET_BIND_SERVICE)
#define BITS (SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS)

static const gid_t groups[] = { 7, 8, 1009 };

/* Gives one system call an answer of its own. */
static void filter(int call, unsigned answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = code };

	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static void drop(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = { { .permitted = KEPT | 1u << CAP_SETPCAP,
						    .effective = KEPT | 1u << CAP_SETPCAP,
						    .inheritable = 1u << CAP_NET_BIND_SERVICE } };

	MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT) == 0);
	MUST(prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	MUST(prctl(PR_SET_SECUREBITS, BITS) == 0);
	MUST(setgroups(3, groups) == 0);
	MUST(setresgid(1001, 1002, 1003) == 0);
	MUST(setresuid(1001, 1002, 1003) == 0);
	MUST(syscall(SYS_capset, &head, caps) == 0);
	MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0);
	caps[0].permitted = KEPT;
	caps[0].effective = 1u << CAP_CHOWN;
	MUST(syscall(SYS_capset, &head, caps) == 0);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void check_ids(void)
{
	uid_t r, e, s;
	gid_t got[16];
	int n = getgroups(16, got);

	getresuid(&r, &e, &s);
	CHECK(r == 1001 && e == 1002 && s == 1003, "uids are %u %u %u", r, e, s);
	getresgid(&r, &e, &s);
	CHECK(r == 1001 && e == 1002 && s == 1003, "gids are %u %u %u", r, e, s);
	CHECK(n == 3 && memcmp(got, groups, sizeof(groups)) == 0, "%d groups", n);
}

static void check_caps(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2];

	syscall(SYS_capget, &head, caps);
	CHECK(caps[0].permitted == KEPT && caps[1].permitted == 0, "permitted %#x %#x", caps[0].permitted,
	      caps[1].permitted);
	CHECK(caps[0].effective == 1u << CAP_CHOWN && caps[1].effective == 0, "effective %#x", caps[0].effective);
	CHECK(caps[0].inheritable == 1u << CAP_NET_BIND_SERVICE, "inheritable %#x", caps[0].inheritable);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0) == 1, "ambient set");
	CHECK(prctl(PR_CAPBSET_READ, CAP_SYS_BOOT) == 0 && prctl(PR_CAPBSET_READ, CAP_MKNOD) == 0,
	      "bounding set is wider");
	CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1, "bounding set is narrower");
	CHECK(prctl(PR_GET_SECUREBITS) == BITS, "securebits %#x", prctl(PR_GET_SECUREBITS));
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs");
}

static void check_filters(void)
{
	CHECK(prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER, "seccomp mode %d", prctl(PR_GET_SECCOMP));
	errno = 0;
	CHECK(syscall(SYS_getppid) == -1 && errno == 77, "first filter: errno %d", errno);
	errno = 0;
	CHECK(syscall(SYS_getpriority, 0, 0) == -1 && errno == 78, "second filter: errno %d", errno);
}

int main(int argc, char **argv)
{
	victim_begin();
	drop();
	filter(SYS_getppid, SECCOMP_RET_ERRNO | 77);
	filter(SYS_getpriority, SECCOMP_RET_ERRNO | 78);
	if (argc > 1 && strcmp(argv[1], "denied") == 0) {
		filter(SYS_clone, SECCOMP_RET_ERRNO | 79);
		filter(SYS_sigaltstack, SECCOMP_RET_KILL_PROCESS);
	}
	victim_wait();
	check_ids();
	check_caps();
	check_filters();
	return victim_end();
}
