/* SPDX-License-Identifier: Apache-2.0 */
/* Raw system calls for the core: a negative errno comes back as it is, syscall(2). */
#ifndef CRPIE_CORE_SYSCALL_H
#define CRPIE_CORE_SYSCALL_H

#include <stdint.h>
#include <asm/unistd.h>
#include <asm/errno.h>

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys4(nr, a, b, c, d) sys6(nr, a, b, c, d, 0, 0)
#define sys3(nr, a, b, c) sys6(nr, a, b, c, 0, 0, 0)
#define sys2(nr, a, b) sys6(nr, a, b, 0, 0, 0, 0)
#define sys1(nr, a) sys6(nr, a, 0, 0, 0, 0, 0)
#define sys0(nr) sys6(nr, 0, 0, 0, 0, 0, 0)

#endif
