// SPDX-License-Identifier: Apache-2.0
/*
 * The frame from which a thread returns to the application: rt_sigreturn(2) sets every register, the signal mask and
 * the alternate stack at once. General registers and the mask come from the images. The vector state is what CRIU has
 * just restored: it is saved here, on the CPU that is there, before anything could change it (this core is compiled
 * for general registers only).
 */
#include "graft.h"
#include "syscall.h"

#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>

/* arch/x86/include/uapi/asm/ucontext.h: the frame has extended state, its ss is to be used as it is */
#define UC_FLAGS (0x1 | 0x2 | 0x4)

struct rt_sigframe { /* arch/x86/include/asm/sigframe.h */
	uint64_t pretcode;
	struct ucontext uc;
	struct siginfo info;
};

#define XSTATE_OFF 512 /* of the saved state in the page: XSAVE needs 64-byte alignment */
#define XSTATE_MAX (GRAFT_LEAVE_OFF - XSTATE_OFF - 4)

_Static_assert(sizeof(struct rt_sigframe) <= XSTATE_OFF, "the frame ends where the extended state begins");
_Static_assert(__builtin_offsetof(struct sigcontext, fpstate) == 8 * (GRAFT_NR_GREGS + 4),
	       "gregs, err, trapno, oldmask, cr2");

static void cpuid(uint32_t leaf, uint32_t sub, uint32_t *a, uint32_t *b, uint32_t *c)
{
	uint32_t d;

	__asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(d) : "a"(leaf), "c"(sub));
}

/*
 * Tile data (AMX, components 17 and 18) must not be in the frame of a task that has not asked for it: the kernel would
 * drop the whole extended state. CRIU does not dump it.
 */
#define XFEATURES_DYNAMIC (3UL << 17)

/* The features that the system has enabled, 0 when the CPU has no XSAVE at all. */
static uint64_t xfeatures(void)
{
	uint32_t a, b, c, hi;

	cpuid(1, 0, &a, &b, &c);
	if (!(c & (1u << 27))) /* OSXSAVE */
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(hi) : "c"(0));
	return ((uint64_t)hi << 32 | a) & ~XFEATURES_DYNAMIC;
}

static uint64_t xstate_size(uint64_t features)
{
	static uint64_t known; /* CPUID is slow under a hypervisor; every thread would find the same */
	uint64_t size = 576, end;
	uint32_t bit, a, b, c;

	if (__atomic_load_n(&known, __ATOMIC_RELAXED))
		return known;
	for (bit = 2; bit < 63; bit++) {
		if (!(features & (1UL << bit)))
			continue;
		cpuid(0xd, bit, &a, &b, &c); /* Intel SDM volume 1, 13.2: size, offset */
		end = (uint64_t)a + b;
		if (end > size)
			size = end;
	}
	__atomic_store_n(&known, size, __ATOMIC_RELAXED);
	return size;
}

/* arch/x86/kernel/fpu/signal.c: the kernel looks for both magic words, and takes only the legacy area without them. */
static void save_xstate(char *area)
{
	struct _fpx_sw_bytes *sw = (struct _fpx_sw_bytes *)(area + 464);
	uint64_t features = xfeatures(), size = features ? xstate_size(features) : 0;

	if (!size || size > XSTATE_MAX) {
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
		return;
	}
	__asm__ volatile("xsave64 (%0)"
			 :
			 : "r"(area), "a"((uint32_t)features), "d"((uint32_t)(features >> 32))
			 : "memory");
	sw->magic1 = FP_XSTATE_MAGIC1;
	sw->extended_size = size + FP_XSTATE_MAGIC2_SIZE;
	sw->xfeatures = features;
	sw->xstate_size = size;
	*(uint32_t *)(area + size) = FP_XSTATE_MAGIC2;
}

/* First of all: the frame page is zeros. */
void graft_save_state(const struct graft_thread *thread)
{
	struct rt_sigframe *frame = (struct rt_sigframe *)thread->frame;
	char *area = (char *)thread->frame + XSTATE_OFF;

	save_xstate(area);
	frame->uc.uc_flags = UC_FLAGS;
	__builtin_memcpy(&frame->uc.uc_mcontext, thread->gregs, sizeof(thread->gregs));
	frame->uc.uc_mcontext.fpstate = (void *)area;
	frame->uc.uc_sigmask = thread->sigmask;
	sys2(__NR_sigaltstack, 0, (long)&frame->uc.uc_stack);
}

/* As a hook has changed them. */
void graft_set_regs(const struct graft_thread *thread, const struct crpie_regs *regs)
{
	struct sigcontext *to = &((struct rt_sigframe *)thread->frame)->uc.uc_mcontext;

	to->rax = regs->ax;
	to->rbx = regs->bx;
	to->rcx = regs->cx;
	to->rdx = regs->dx;
	to->rsi = regs->si;
	to->rdi = regs->di;
	to->rbp = regs->bp;
	to->rsp = regs->sp;
	to->r8 = regs->r8;
	to->r9 = regs->r9;
	to->r10 = regs->r10;
	to->r11 = regs->r11;
	to->r12 = regs->r12;
	to->r13 = regs->r13;
	to->r14 = regs->r14;
	to->r15 = regs->r15;
	to->rip = regs->ip;
	to->eflags = regs->flags;
}
