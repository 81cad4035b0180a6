/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every register of the x87, SSE, AVX and AVX-512 state that this CPU has holds a known value while the program spins
 * without a system call; SIGUSR1 ends the spinning. argv[1] "sse" or "avx" uses less than the CPU has.
 */
#include "victim.h"
#include <cpuid.h>

int victim_failures;
static volatile int go;

static void on_usr1(int sig)
{
	(void)sig;
	go = 1;
}

struct state {
	uint8_t vec[32][64] __attribute__((aligned(64)));
	uint64_t mask[8];
	long double x87[8];
	uint32_t mxcsr;
	uint16_t control;
};

static struct state want, got;

#define EACH8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH16(X) EACH8(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH32(X)                                                                                                      \
	EACH16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)

#define LOAD_XMM(n) "movaps " #n "*64(%[want]), %%xmm" #n "\n"
#define SAVE_XMM(n) "movaps %%xmm" #n ", " #n "*64(%[got])\n"
#define LOAD_YMM(n) "vmovaps " #n "*64(%[want]), %%ymm" #n "\n"
#define SAVE_YMM(n) "vmovaps %%ymm" #n ", " #n "*64(%[got])\n"
#define LOAD_ZMM(n) "vmovaps " #n "*64(%[want]), %%zmm" #n "\n"
#define SAVE_ZMM(n) "vmovaps %%zmm" #n ", " #n "*64(%[got])\n"
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%[want]), %%k" #n "\n"
#define SAVE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%[got])\n"
#define LOAD_X87(n) "fldt 2112+" #n "*16(%[want])\n"
#define SAVE_X87(n) "fstpt 2112+(7-" #n ")*16(%[got])\n"

_Static_assert(__builtin_offsetof(struct state, mask) == 2048, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, x87) == 2112, "the assembly counts on it");

/* load; print nothing, call nothing; spin; save */
#define SPIN(load, save)                                                                                               \
	__asm__ volatile(                                                                                              \
		"fninit\n fldcw %[cw]\n ldmxcsr %[csr]\n" EACH8(LOAD_X87) load                                         \
		"1: pause\n cmpl $0, %[go]\n je 1b\n" save EACH8(                                                      \
			SAVE_X87) "fnstcw %[gotcw]\n stmxcsr %[gotcsr]\n fninit\n"                                     \
		: [gotcw] "=m"(got.control), [gotcsr] "=m"(got.mxcsr)                                                  \
		: [want] "r"(&want), [got] "r"(&got), [go] "m"(go), [cw] "m"(want.control), [csr] "m"(want.mxcsr)      \
		: "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
		  "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void spin_sse(void)
{
	SPIN(EACH16(LOAD_XMM), EACH16(SAVE_XMM));
}

__attribute__((target("avx"))) static void spin_avx(void)
{
	SPIN(EACH16(LOAD_YMM), EACH16(SAVE_YMM) "vzeroupper\n");
}

__attribute__((target("avx512f,avx512bw"))) static void spin_avx512(void)
{
	SPIN(EACH32(LOAD_ZMM) EACH8(LOAD_MASK), EACH32(SAVE_ZMM) EACH8(SAVE_MASK) "vzeroupper\n");
}

static void check(const char *name, int regs, int bytes, int masks)
{
	for (int i = 0; i < regs; i++)
		CHECK(memcmp(want.vec[i], got.vec[i], bytes) == 0, "%s%d", name, i);
	for (int i = 0; i < masks; i++)
		CHECK(want.mask[i] == got.mask[i], "k%d is %#lx, was %#lx", i, got.mask[i], want.mask[i]);
	for (int i = 0; i < 8; i++)
		CHECK(want.x87[i] == got.x87[i], "x87 register %d is %Lg, was %Lg", i, got.x87[i], want.x87[i]);
	CHECK(want.mxcsr == got.mxcsr, "mxcsr is %#x, was %#x", got.mxcsr, want.mxcsr);
	CHECK(want.control == got.control, "x87 control word is %#x, was %#x", got.control, want.control);
}

int main(int argc, char **argv)
{
	const char *most = argc > 1 ? argv[1] : "avx512";
	struct sigaction act = { .sa_handler = on_usr1 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sigaction(SIGUSR1, &act, NULL) == 0);
	fill(want.vec, sizeof(want.vec) + sizeof(want.mask), 9);
	for (int i = 0; i < 8; i++)
		want.x87[i] = 1.25L * (i + 1);
	want.mxcsr = 0x7f80;   /* all exceptions masked, round toward zero; Intel SDM volume 1, 10.2.3 */
	want.control = 0x0b7f; /* all exceptions masked, 64-bit mantissa, round up; 8.1.5 */
	printf("READY %d\n", getpid());
	fflush(stdout);
	if (strcmp(most, "avx512") == 0 && __builtin_cpu_supports("avx512bw")) {
		spin_avx512();
		check("zmm", 32, 64, 8);
	} else if (strcmp(most, "sse") != 0 && __builtin_cpu_supports("avx")) {
		spin_avx();
		check("ymm", 16, 32, 0);
	} else {
		spin_sse();
		check("xmm", 16, 16, 0);
	}
	return victim_end();
}
