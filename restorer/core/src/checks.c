// SPDX-License-Identifier: Apache-2.0
/*
 * What hooks may change of registers and timers, in both cores. internal/taskview has the same rules: for crpie try,
 * and for what the controller of a restore reads from the tasks.
 */
#include "hooks.h"
#include "syscall.h"

#define TASK_SIZE_MAX 0x7ffffffff000UL /* Documentation/arch/x86/x86_64/mm.rst */
#define CHANGEABLE_FLAGS 0xcd5UL       /* CF, PF, AF, ZF, SF, DF, OF; Intel SDM volume 1, 3.4.3 */

#define WORDS (sizeof(struct crpie_regs) / 8)
#define WORD(member) (__builtin_offsetof(struct crpie_regs, member) / 8)

/* Of the members that must stay. */
static const char names[][8] = { "fs_base", "gs_base", "cs", "ss", "ds", "es", "fs", "gs", "syscall" };

_Static_assert(WORD(fs_base) + sizeof(names) / sizeof(names[0]) == WORDS, "all behind flags");

struct text {
	char buf[128];
	uint64_t len;
};

static void put(struct text *line, const char *text)
{
	while (*text)
		line->buf[line->len++] = *text++;
}

static void put_hex(struct text *line, uint64_t value)
{
	int shift = 60;

	put(line, "0x");
	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		line->buf[line->len++] = "0123456789abcdef"[value >> shift & 15];
}

/* The longest: "register syscall: 0x… instead of 0x…, which a hook must not change" */
static int refuse(const struct crpie_ctx *ctx, const char *name, uint64_t was, uint64_t is, const char *why)
{
	struct text line = { .len = 0 };

	put(&line, name);
	put(&line, ": ");
	put_hex(&line, is);
	put(&line, " instead of ");
	put_hex(&line, was);
	put(&line, why);
	ctx->log(ctx, CRPIE_LOG_ERROR, line.buf, line.len);
	return -EINVAL;
}

static int check_address(const struct crpie_ctx *ctx, const char *name, uint64_t was, uint64_t is)
{
	return is == was || is < TASK_SIZE_MAX ? 0 : refuse(ctx, name, was, is, ", no address of a program");
}

static int check_kept(const struct crpie_ctx *ctx, const uint64_t *was, const uint64_t *is)
{
	uint64_t i;

	for (i = WORD(fs_base); i < WORDS; i++)
		if (is[i] != was[i])
			return refuse(ctx, names[i - WORD(fs_base)], was[i], is[i], ", which a hook must not change");
	return 0;
}

int check_regs(const struct crpie_ctx *ctx, const struct crpie_regs *before)
{
	const struct crpie_regs *regs = ctx->regs;
	int ret = 0;

	if (!regs)
		return 0;
	ret = check_address(ctx, "ip", before->ip, regs->ip);
	if (ret == 0)
		ret = check_address(ctx, "sp", before->sp, regs->sp);
	if (ret == 0 && (before->flags ^ regs->flags) & ~CHANGEABLE_FLAGS)
		ret = refuse(ctx, "flags", before->flags, regs->flags,
			     ": only CF, PF, AF, ZF, SF, DF and OF may be others");
	return ret ? ret : check_kept(ctx, (const uint64_t *)before, (const uint64_t *)regs);
}

static int check_timer(const struct crpie_ctx *ctx, const struct crpie_timer *was, const struct crpie_timer *is)
{
	if (is->kind != was->kind)
		return refuse(ctx, "kind of a timer", was->kind, is->kind, ", which a hook must not change");
	if (is->id != was->id)
		return refuse(ctx, "id of a timer", was->id, is->id, ", which a hook must not change");
	if (is->clock != was->clock)
		return refuse(ctx, "clock of a timer", was->clock, is->clock, ", which a hook must not change");
	if (is->remaining_ns < 0)
		return refuse(ctx, "remaining_ns of a timer", was->remaining_ns, is->remaining_ns, ": it is negative");
	if (is->interval_ns < 0)
		return refuse(ctx, "interval_ns of a timer", was->interval_ns, is->interval_ns, ": it is negative");
	return 0;
}

int check_timers(const struct crpie_ctx *ctx, const struct crpie_timer *before)
{
	uint64_t i;
	int ret = 0;

	for (i = 0; i < ctx->nr_timers && ret == 0; i++)
		ret = check_timer(ctx, before + i, ctx->timers + i);
	return ret;
}
