// SPDX-License-Identifier: Apache-2.0
/*
 * What a supervisor outside learns of the task, and its answer. It reads and writes graft_status by process_vm_readv(2)
 * and process_vm_writev(2): a descriptor would be the application's, and CRIU restores no other. The task does not go on,
 * and does not end, before it has got an answer or was killed; without a supervisor it ends by itself.
 */
#include "graft.h"
#include "syscall.h"

#include <linux/futex.h>

struct graft_status graft_status;
struct graft_talk graft_talk;

struct {
	struct graft_told head;
	char text[CRPIE_LOG_LINE_MAX];
} graft_lines[GRAFT_TOLD];

/* Nobody outside can wake a private futex: words are looked at every millisecond. */
static void wait_a_moment(void)
{
	int64_t look[2] = { 0, 1000000 };

	sys4(__NR_futex, (long)&graft_status.answer, FUTEX_WAIT_PRIVATE, 0, (long)look);
}

static _Noreturn void end_task(void)
{
	for (;;) /* not SIGKILL: the first process of a pid namespace cannot send it to itself, pid_namespaces(7) */
		sys1(__NR_exit_group, GRAFT_EXIT_STATUS);
}

static void await_answer(const struct graft_task *task)
{
	struct graft_status *s = &graft_status;
	int64_t since = graft_clock(1 /* CLOCK_MONOTONIC */);
	uint32_t seen = 0;

	while (!__atomic_load_n(&s->answer, __ATOMIC_ACQUIRE)) {
		uint32_t watched = __atomic_load_n(&s->watched, __ATOMIC_RELAXED);
		int64_t now = graft_clock(1);

		if (watched != seen) {
			seen = watched;
			since = now;
		}
		if (now - since > task->patience_ns)
			end_task();
		wait_a_moment();
	}
}

/* Finds the next place for a line, which is free when the supervisor has taken an older one from there. */
static int reserve(uint64_t *number)
{
	int64_t since = graft_clock(1 /* CLOCK_MONOTONIC */);

	for (;;) {
		*number = __atomic_load_n(&graft_talk.begun, __ATOMIC_RELAXED);
		if (*number - __atomic_load_n(&graft_talk.taken, __ATOMIC_ACQUIRE) >= GRAFT_TOLD) {
			if (graft_clock(1) - since > 1000000000)
				return 0; /* nobody is there */
			wait_a_moment();
			continue;
		}
		if (__atomic_compare_exchange_n(&graft_talk.begun, number, *number + 1, 0, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return 1;
	}
}

/* Says a line to the supervisor, who writes it into the runtime's log. */
void graft_say(const struct graft_worker *w, uint32_t level, const char *msg, uint64_t len)
{
	struct graft_told *told;
	uint64_t number, i;
	char *text;

	if (!reserve(&number))
		return;
	told = &graft_lines[number % GRAFT_TOLD].head;
	text = graft_lines[number % GRAFT_TOLD].text;
	told->level = level;
	told->tid = w->thread->tid;
	told->hook = w->hook;
	told->plugin = w->plugin;
	told->len = len;
	for (i = 0; i < len; i++)
		text[i] = msg[i];
	__atomic_store_n(&told->number, number + 1, __ATOMIC_RELEASE);
}

void graft_begin_status(const struct graft_task *task)
{
	if (task->patience_ns)
		__atomic_store_n(&graft_status.state, GRAFT_STATE_RUNNING, __ATOMIC_RELEASE);
}

/* All hooks have run. */
void graft_finish_status(const struct graft_task *task)
{
	if (!task->patience_ns)
		return;
	__atomic_store_n(&graft_status.state, GRAFT_STATE_DONE, __ATOMIC_RELEASE);
	await_answer(task);
}

/* Writes the failure into the status, unless another thread has written one before. */
static void tell(const struct graft_worker *w, const struct graft_cause *cause)
{
	struct graft_status *s = &graft_status;
	uint32_t running = GRAFT_STATE_RUNNING;

	if (!__atomic_compare_exchange_n(&s->state, &running, GRAFT_STATE_FAILING, 0, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	s->kind = cause->kind;
	s->number = cause->number;
	s->address = cause->address;
	s->ip = cause->ip;
	s->hook = w->hook;
	s->plugin = w->plugin;
	s->tid = w->thread->tid;
	s->fn = w->fn;
	__atomic_store_n(&s->state, GRAFT_STATE_FAILED, __ATOMIC_RELEASE);
}

_Noreturn void graft_give_up(const struct graft_worker *w, const struct graft_cause *cause)
{
	if (w->task->patience_ns) {
		tell(w, cause);
		await_answer(w->task);
	}
	end_task();
}
