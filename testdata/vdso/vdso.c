/* SPDX-License-Identifier: Apache-2.0 */
/* A vDSO as no kernel has it: every function says that it was called, which it must not be. */
#define WRONG (-12345)

#define FUNCTION(name)                                                                                                 \
	__attribute__((aligned(16), noinline)) long __vdso_##name(void)                                                \
	{                                                                                                              \
		return WRONG;                                                                                          \
	}                                                                                                              \
	long name(void) __attribute__((weak, alias("__vdso_" #name)))

FUNCTION(getcpu);
FUNCTION(no_kernel_has_this);
FUNCTION(clock_gettime);
FUNCTION(time);
FUNCTION(clock_getres);
FUNCTION(gettimeofday);
