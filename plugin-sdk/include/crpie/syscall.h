/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls, x86-64 and aarch64. There is no errno: every function returns what the kernel returned, a negative
 * errno on failure.
 *
 * Only the numbers come with this header (<asm/unistd.h>). Flags and structs are the author's choice: the kernel's
 * headers (<linux/fcntl.h>, <linux/mman.h>, <asm/stat.h> …), or a libc's (<fcntl.h>, <sys/mman.h> …), whose macros work
 * without the library. Structs are the kernel's; where a libc's struct differs (stat on some), use the kernel's.
 */
#ifndef CRPIE_SYSCALL_H
#define CRPIE_SYSCALL_H

#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <linux/time_types.h>

#include <crpie/abi.h>

/*
 * Declares that the code makes a system call, with a struct crpie_syscall_record for each time that it is compiled.
 * The CRPIE_SYSn below do this by themselves; code with a system call instruction of its own says it, anywhere in a
 * function: CRPIE_MAKES(__NR_getpid);
 */
#define CRPIE_MAKES(nr)                                                                                                \
	__asm__ volatile(".pushsection " CRPIE_SYSCALLS_SECTION ", \"a\", %%progbits\n\t"                              \
			 ".balign 8\n\t"                                                                               \
			 ".long 16, 1, %c0, 0\n\t"                                                                     \
			 ".popsection"                                                                                 \
			 :                                                                                             \
			 : "i"(__builtin_constant_p(nr) ? (int)(nr) : (int)CRPIE_SYSCALL_COMPUTED))

#if defined(__x86_64__)

/* syscall(2): number in rax, arguments in rdi rsi rdx r10 r8 r9; the instruction destroys rcx and r11. */
static inline long crpie_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

/* syscall(2): number in x8, arguments in x0 to x5, result in x0. */
static inline long crpie_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}

#else
#error "crpie plugins are for x86-64 and aarch64"
#endif

/* CRPIE_SYSn(nr, arguments...): n arguments, integers or pointers. */
#define CRPIE_ARG(x) ((long)(x))
#define CRPIE_SYS6(nr, a, b, c, d, e, f)                                                                               \
	(__extension__({                                                                                               \
		CRPIE_MAKES(nr);                                                                                       \
		crpie_syscall(nr, CRPIE_ARG(a), CRPIE_ARG(b), CRPIE_ARG(c), CRPIE_ARG(d), CRPIE_ARG(e), CRPIE_ARG(f)); \
	}))
#define CRPIE_SYS0(nr) CRPIE_SYS6(nr, 0, 0, 0, 0, 0, 0)
#define CRPIE_SYS1(nr, a) CRPIE_SYS6(nr, a, 0, 0, 0, 0, 0)
#define CRPIE_SYS2(nr, a, b) CRPIE_SYS6(nr, a, b, 0, 0, 0, 0)
#define CRPIE_SYS3(nr, a, b, c) CRPIE_SYS6(nr, a, b, c, 0, 0, 0)
#define CRPIE_SYS4(nr, a, b, c, d) CRPIE_SYS6(nr, a, b, c, d, 0, 0)
#define CRPIE_SYS5(nr, a, b, c, d, e) CRPIE_SYS6(nr, a, b, c, d, e, 0)

/* A result in [-4095, -1] is an error; addresses near the top of memory are not (mmap(2) in the kernel's ABI). */
static inline int crpie_is_err(long ret)
{
	return (unsigned long)ret > -4096UL;
}

struct stat;
struct iovec;
struct rlimit64;
struct new_utsname;

/* Files. dirfd -100 is AT_FDCWD. */
static inline long sys_openat(int dirfd, const char *path, int flags, unsigned int mode)
{
	return CRPIE_SYS4(__NR_openat, dirfd, path, flags, mode);
}
static inline long sys_open(const char *path, int flags, unsigned int mode)
{
	return sys_openat(-100, path, flags, mode);
}
static inline long sys_read(int fd, void *buf, size_t n)
{
	return CRPIE_SYS3(__NR_read, fd, buf, n);
}
static inline long sys_write(int fd, const void *buf, size_t n)
{
	return CRPIE_SYS3(__NR_write, fd, buf, n);
}
static inline long sys_pread(int fd, void *buf, size_t n, int64_t off)
{
	return CRPIE_SYS4(__NR_pread64, fd, buf, n, off);
}
static inline long sys_pwrite(int fd, const void *buf, size_t n, int64_t off)
{
	return CRPIE_SYS4(__NR_pwrite64, fd, buf, n, off);
}
static inline long sys_close(int fd)
{
	return CRPIE_SYS1(__NR_close, fd);
}
static inline long sys_lseek(int fd, int64_t off, int whence)
{
	return CRPIE_SYS3(__NR_lseek, fd, off, whence);
}
static inline long sys_fstat(int fd, struct stat *st)
{
	return CRPIE_SYS2(__NR_fstat, fd, st);
}
static inline long sys_newfstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	return CRPIE_SYS4(__NR_newfstatat, dirfd, path, st, flags);
}
static inline long sys_readlinkat(int dirfd, const char *path, char *buf, size_t n)
{
	return CRPIE_SYS4(__NR_readlinkat, dirfd, path, buf, n);
}
static inline long sys_unlinkat(int dirfd, const char *path, int flags)
{
	return CRPIE_SYS3(__NR_unlinkat, dirfd, path, flags);
}
static inline long sys_ftruncate(int fd, int64_t len)
{
	return CRPIE_SYS2(__NR_ftruncate, fd, len);
}
static inline long sys_fcntl(int fd, int cmd, unsigned long arg)
{
	return CRPIE_SYS3(__NR_fcntl, fd, cmd, arg);
}
static inline long sys_dup3(int from, int to, int flags)
{
	return CRPIE_SYS3(__NR_dup3, from, to, flags);
}
static inline long sys_ioctl(int fd, unsigned int request, unsigned long arg)
{
	return CRPIE_SYS3(__NR_ioctl, fd, request, arg);
}
static inline long sys_pipe2(int *fds, int flags)
{
	return CRPIE_SYS2(__NR_pipe2, fds, flags);
}
static inline long sys_memfd_create(const char *name, unsigned int flags)
{
	return CRPIE_SYS2(__NR_memfd_create, name, flags);
}

/* Memory. A mapping made by a hook stays in the restored program. */
static inline void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, int64_t off)
{
	return (void *)CRPIE_SYS6(__NR_mmap, addr, len, prot, flags, fd, off);
}
static inline long sys_munmap(void *addr, size_t len)
{
	return CRPIE_SYS2(__NR_munmap, addr, len);
}
static inline long sys_mprotect(void *addr, size_t len, int prot)
{
	return CRPIE_SYS3(__NR_mprotect, addr, len, prot);
}
static inline long sys_madvise(void *addr, size_t len, int advice)
{
	return CRPIE_SYS3(__NR_madvise, addr, len, advice);
}
static inline long sys_process_vm_readv(int pid, const struct iovec *local, unsigned long nr_local,
					const struct iovec *remote, unsigned long nr_remote)
{
	return CRPIE_SYS6(__NR_process_vm_readv, pid, local, nr_local, remote, nr_remote, 0);
}
static inline long sys_process_vm_writev(int pid, const struct iovec *local, unsigned long nr_local,
					 const struct iovec *remote, unsigned long nr_remote)
{
	return CRPIE_SYS6(__NR_process_vm_writev, pid, local, nr_local, remote, nr_remote, 0);
}

/* Time and randomness. */
static inline long sys_clock_gettime(int clock, struct __kernel_timespec *ts)
{
	return CRPIE_SYS2(__NR_clock_gettime, clock, ts);
}
static inline long sys_nanosleep(const struct __kernel_timespec *want, struct __kernel_timespec *left)
{
	return CRPIE_SYS2(__NR_nanosleep, want, left);
}
static inline long sys_getrandom(void *buf, size_t n, unsigned int flags)
{
	return CRPIE_SYS3(__NR_getrandom, buf, n, flags);
}
static inline long sys_futex(uint32_t *word, int op, uint32_t val, const struct __kernel_timespec *timeout)
{
	return CRPIE_SYS6(__NR_futex, word, op, val, timeout, 0, 0);
}

/* Processes. */
static inline int sys_getpid(void)
{
	return (int)CRPIE_SYS0(__NR_getpid);
}
static inline int sys_gettid(void)
{
	return (int)CRPIE_SYS0(__NR_gettid);
}
static inline int sys_getppid(void)
{
	return (int)CRPIE_SYS0(__NR_getppid);
}
static inline int sys_getuid(void)
{
	return (int)CRPIE_SYS0(__NR_getuid);
}
static inline int sys_geteuid(void)
{
	return (int)CRPIE_SYS0(__NR_geteuid);
}
static inline long sys_kill(int pid, int sig)
{
	return CRPIE_SYS2(__NR_kill, pid, sig);
}
static inline long sys_tgkill(int tgid, int tid, int sig)
{
	return CRPIE_SYS3(__NR_tgkill, tgid, tid, sig);
}
static inline long sys_setsid(void)
{
	return CRPIE_SYS0(__NR_setsid);
}
static inline long sys_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	return CRPIE_SYS5(__NR_prctl, option, a, b, c, d);
}
static inline long sys_prlimit64(int pid, unsigned int resource, const struct rlimit64 *set, struct rlimit64 *get)
{
	return CRPIE_SYS4(__NR_prlimit64, pid, resource, set, get);
}
static inline long sys_sched_yield(void)
{
	return CRPIE_SYS0(__NR_sched_yield);
}

/*
 * Namespaces, what: CLONE_NEW* of <linux/sched.h>. They are the calling thread's; with CLONE_NEWNS or CLONE_NEWUSER the
 * kernel says EINVAL in a process with several threads. fd: of a file in /proc/PID/ns, or a pidfd.
 */
static inline long sys_unshare(unsigned long what)
{
	return CRPIE_SYS1(__NR_unshare, what);
}
static inline long sys_setns(int fd, int what)
{
	return CRPIE_SYS2(__NR_setns, fd, what);
}

/* Mounts, flags: MS_* and MNT_* of <linux/mount.h>, or <sys/mount.h>. source, type and data may be NULL. */
static inline long sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
			     const void *data)
{
	return CRPIE_SYS5(__NR_mount, source, target, type, flags, data);
}
static inline long sys_umount2(const char *target, int flags)
{
	return CRPIE_SYS2(__NR_umount2, target, flags);
}

/*
 * A child is a copy of the process with the calling thread only: 0 is returned in it, its pid in the parent. It must
 * not return from the hook: it ends with sys_exit_group, or becomes another program by sys_execve, which a process
 * that runs hooks must not do itself. Whoever does not wait for it leaves a zombie, and perhaps SIGCHLD, to the
 * program: for none, give sys_fork the signal 0, and sys_wait4 the flag 0x40000000, __WCLONE.
 */
static inline long sys_fork(int exit_signal)
{
	return CRPIE_SYS5(__NR_clone, exit_signal, 0, 0, 0, 0);
}
static inline long sys_wait4(int pid, int *status, int flags, void *rusage)
{
	return CRPIE_SYS4(__NR_wait4, pid, status, flags, rusage);
}
static inline long sys_execve(const char *path, const char *const *argv, const char *const *envp)
{
	return CRPIE_SYS3(__NR_execve, path, argv, envp);
}
__attribute__((noreturn)) static inline void sys_exit_group(int status)
{
	for (;;)
		CRPIE_SYS1(__NR_exit_group, status);
}

/* The machine's name; uname takes the kernel's struct new_utsname of <linux/utsname.h>. */
static inline long sys_uname(struct new_utsname *name)
{
	return CRPIE_SYS1(__NR_uname, name);
}
static inline long sys_sethostname(const char *name, size_t len)
{
	return CRPIE_SYS2(__NR_sethostname, name, len);
}

/* Families and types of sockets, socket(2), the same on every machine: no header of the kernel has them. */
#define CRPIE_AF_UNIX 1
#define CRPIE_AF_INET 2
#define CRPIE_AF_INET6 10
#define CRPIE_AF_NETLINK 16
#define CRPIE_AF_PACKET 17
#define CRPIE_AF_VSOCK 40
#define CRPIE_SOCK_STREAM 1
#define CRPIE_SOCK_DGRAM 2
#define CRPIE_SOCK_RAW 3
#define CRPIE_SOCK_SEQPACKET 5
#define CRPIE_SOCK_NONBLOCK 04000
#define CRPIE_SOCK_CLOEXEC 02000000

/* Sockets; addr points at a struct sockaddr_in of <linux/in.h>, sockaddr_un of <linux/un.h> and so on. */
static inline long sys_socket(int family, int type, int protocol)
{
	return CRPIE_SYS3(__NR_socket, family, type, protocol);
}
static inline long sys_connect(int fd, const void *addr, unsigned int len)
{
	return CRPIE_SYS3(__NR_connect, fd, addr, len);
}
static inline long sys_bind(int fd, const void *addr, unsigned int len)
{
	return CRPIE_SYS3(__NR_bind, fd, addr, len);
}
static inline long sys_listen(int fd, int backlog)
{
	return CRPIE_SYS2(__NR_listen, fd, backlog);
}
/* Takes a connection; addr and len may be NULL. flags: CRPIE_SOCK_NONBLOCK, CRPIE_SOCK_CLOEXEC. */
static inline long sys_accept4(int fd, void *addr, unsigned int *len, int flags)
{
	return CRPIE_SYS4(__NR_accept4, fd, addr, len, flags);
}
/* *len: room in bytes, afterwards the length of the name, which is cut if there was less. */
static inline long sys_getsockname(int fd, void *addr, unsigned int *len)
{
	return CRPIE_SYS3(__NR_getsockname, fd, addr, len);
}
static inline long sys_getpeername(int fd, void *addr, unsigned int *len)
{
	return CRPIE_SYS3(__NR_getpeername, fd, addr, len);
}
static inline long sys_shutdown(int fd, int how)
{
	return CRPIE_SYS2(__NR_shutdown, fd, how);
}
static inline long sys_sendto(int fd, const void *buf, size_t n, int flags, const void *addr, unsigned int len)
{
	return CRPIE_SYS6(__NR_sendto, fd, buf, n, flags, addr, len);
}
static inline long sys_recvfrom(int fd, void *buf, size_t n, int flags, void *addr, unsigned int *len)
{
	return CRPIE_SYS6(__NR_recvfrom, fd, buf, n, flags, addr, len);
}
static inline long sys_setsockopt(int fd, int level, int name, const void *value, unsigned int len)
{
	return CRPIE_SYS5(__NR_setsockopt, fd, level, name, value, len);
}
static inline long sys_getsockopt(int fd, int level, int name, void *value, unsigned int *len)
{
	return CRPIE_SYS5(__NR_getsockopt, fd, level, name, value, len);
}

#endif
