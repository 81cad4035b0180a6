// SPDX-License-Identifier: Apache-2.0
/* The log: a ring in the shared memory, so that it works when the task's descriptors are the application's already. */
#include "core.h"
#include "syscall.h"

static char *at(const struct core *core, uint64_t pos)
{
	return (char *)core->shared + core->plan->log_off + (pos & (core->plan->log_size - 1));
}

static void put(const struct core *core, uint64_t pos, const void *from, uint64_t len)
{
	const char *bytes = from;
	uint64_t i;

	for (i = 0; i < len; i++)
		*at(core, pos + i) = bytes[i];
}

/* Reserves len bytes; when the ring is full the controller is rung and given time to read. */
static uint64_t reserve(struct core *core, uint64_t len)
{
	struct crpie_shared *shared = core->shared;
	uint64_t head = __atomic_load_n(&shared->log_head, __ATOMIC_RELAXED);

	for (;;) {
		if (head + len - __atomic_load_n(&shared->log_tail, __ATOMIC_ACQUIRE) > core->plan->log_size) {
			core_news(core);
			sys0(__NR_sched_yield);
			head = __atomic_load_n(&shared->log_head, __ATOMIC_RELAXED);
			continue;
		}
		if (__atomic_compare_exchange_n(&shared->log_head, &head, head + len, 0, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return head;
	}
}

static uint32_t plugin_index(const struct core *core)
{
	return core->status->plugin;
}

void core_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len)
{
	struct core *core = (struct core *)ctx->reserved[0];
	struct crpie_log_record rec = {
		.level = level,
		.pid = ctx->pid,
		.tid = ctx->tid,
		.hook = ctx->hook,
		.plugin = plugin_index(core),
		.seq = core->status->hook_seq,
	};
	uint64_t pos;
	uint32_t total;

	if (level > core->plan->log_level)
		return;
	if (len > CRPIE_LOG_LINE_MAX)
		len = CRPIE_LOG_LINE_MAX;
	rec.text_len = len;
	total = (sizeof(rec) + len + 7) & ~7UL;
	pos = reserve(core, total);
	put(core, pos + sizeof(rec.len), (char *)&rec + sizeof(rec.len), sizeof(rec) - sizeof(rec.len));
	put(core, pos + sizeof(rec), msg, len);
	/* records are 8-byte aligned, so len never wraps */
	__atomic_store_n((uint32_t *)at(core, pos), total, __ATOMIC_RELEASE);
}
