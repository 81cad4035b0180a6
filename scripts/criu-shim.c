/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into `criu dump` where the kernel does not let CRIU 4.1 look. Only what the kernel refuses is answered here;
 * everything else is the kernel's answer.
 *
 * Without CAP_SYS_RESOURCE (many containers and CI runners): prlimit(2) asks for that capability even to read the
 * limits of a task with other user ids. /proc/PID/limits tells the same to anyone who may ptrace the task. CRIU makes
 * this call through syscall(2).
 *
 * Since Linux 6.16: SO_PASSCRED and SO_PASSSEC can be read from sockets that pass credentials only (unix and netlink);
 * others say EOPNOTSUPP where they had always said 0. CRIU reads them from every socket.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The names that fs/proc/base.c prints in /proc/PID/limits, by RLIMIT_ number. */
static const char *const names[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

static rlim64_t parse_limit(const char *word)
{
	return strcmp(word, "unlimited") == 0 ? RLIM64_INFINITY : strtoull(word, NULL, 10);
}

/* Returns 0 and fills lim, or -1 when /proc does not say. */
static int read_proc_limit(pid_t pid, unsigned int resource, struct rlimit64 *lim)
{
	char path[32], line[256], soft[32], hard[32];
	int found = -1;
	FILE *f;

	if (resource >= sizeof(names) / sizeof(names[0]) || !names[resource])
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (found < 0 && fgets(line, sizeof(line), f)) {
		size_t n = strlen(names[resource]);

		if (strncmp(line, names[resource], n) != 0 || line[n] != ' ')
			continue;
		if (sscanf(line + n, "%31s %31s", soft, hard) != 2)
			break;
		lim->rlim_cur = parse_limit(soft);
		lim->rlim_max = parse_limit(hard);
		found = 0;
	}
	fclose(f);
	return found;
}

/* The kernel's answer, not errno: syscall(2) itself is what is replaced here. */
static long raw_syscall(long nr, const long *a)
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static int refused_read(long nr, const long *a, long ret)
{
	return nr == SYS_prlimit64 && ret == -EPERM && !a[2] && a[3];
}

long syscall(long nr, ...)
{
	long a[6], ret;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	ret = raw_syscall(nr, a);
	if (refused_read(nr, a, ret) && read_proc_limit(a[0], a[1], (struct rlimit64 *)a[3]) == 0)
		return 0;
	if (ret < 0 && ret > -4096) {
		errno = -ret;
		return -1;
	}
	return ret;
}

int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict len)
{
	int ret = syscall(SYS_getsockopt, fd, level, option, value, len);

	if (ret < 0 && errno == EOPNOTSUPP && level == SOL_SOCKET && (option == SO_PASSCRED || option == SO_PASSSEC) &&
	    *len == sizeof(int)) {
		*(int *)value = 0;
		return 0;
	}
	return ret;
}
