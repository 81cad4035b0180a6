// SPDX-License-Identifier: Apache-2.0
/*
 * Log lines. Nobody waits outside to read a ring, and every descriptor is the application's: a line goes to the file
 * that crpie graft --log-file named, opened for that line, or else to standard error if the images say that this is a
 * place for messages. A line that would block is dropped.
 */
#include "graft.h"
#include "syscall.h"

#include <asm/fcntl.h>
#include <asm/poll.h>

void graft_put(struct graft_line *line, const char *text)
{
	while (*text && line->len < sizeof(line->text) - 1)
		line->text[line->len++] = *text++;
}

static void put_number(struct graft_line *line, uint64_t value, uint32_t base)
{
	char digits[24];
	uint32_t i = sizeof(digits);

	digits[--i] = 0;
	do
		digits[--i] = "0123456789abcdef"[value % base];
	while ((value /= base) != 0);
	graft_put(line, digits + i);
}

void graft_put_int(struct graft_line *line, int64_t value)
{
	if (value < 0)
		graft_put(line, "-");
	put_number(line, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

void graft_put_hex(struct graft_line *line, uint64_t value)
{
	graft_put(line, "0x");
	put_number(line, value, 16);
}

static const char *call_name(uint32_t hook)
{
	switch (hook) {
	case CRPIE_HOOK_INIT: return "init";
	case CRPIE_HOOK_EXIT: return "exit";
	case CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD: return "hook PIE_RST_PRE_SIGRETURN_THREAD";
	default: return "hook PIE_RST_PRE_SIGRETURN";
	}
}

/* "crpie graft: task 7: plugin p, hook h, thread 8: ", or init or exit in the hook's place */
void graft_begin_line(struct graft_line *line, const struct graft_worker *w)
{
	const struct crpie_table *table = (const struct crpie_table *)w->task->table;
	const struct crpie_table_plugin *plugins = (const struct crpie_table_plugin *)table->plugins;

	line->len = 0;
	graft_put(line, "crpie graft: task ");
	graft_put_int(line, w->task->pid);
	if (w->hook) {
		graft_put(line, ": plugin ");
		graft_put(line, (const char *)plugins[w->plugin].name);
		graft_put(line, ", ");
		graft_put(line, call_name(w->hook));
		graft_put(line, ", thread ");
		graft_put_int(line, w->thread->tid);
	}
	graft_put(line, ": ");
}

static int can_write(int fd)
{
	struct pollfd poll = { .fd = fd, .events = POLLOUT };
	int64_t zero[2] = { 0, 0 };

	/* a pipe without a reader would raise SIGPIPE: poll(2) says POLLERR */
	return sys6(__NR_ppoll, (long)&poll, 1, (long)zero, 0, 0, 0) == 1 && !(poll.revents & (POLLERR | POLLNVAL));
}

void graft_end_line(struct graft_line *line, const struct graft_task *task)
{
	int64_t fd;

	line->text[line->len++] = '\n';
	if (!task->log_path) {
		if (task->use_stderr && can_write(2))
			sys3(__NR_write, 2, (long)line->text, line->len);
		return;
	}
	fd = sys4(__NR_openat, -100 /* AT_FDCWD */, task->log_path,
		  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return;
	if (can_write(fd))
		sys3(__NR_write, fd, (long)line->text, line->len);
	sys1(__NR_close, fd);
}

/* Control characters would forge lines. */
void graft_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len)
{
	const struct graft_worker *w = (const struct graft_worker *)ctx->reserved[0];
	struct graft_line line;
	uint64_t i;

	if (level > w->task->log_level)
		return;
	graft_begin_line(&line, w);
	if (len > CRPIE_LOG_LINE_MAX)
		len = CRPIE_LOG_LINE_MAX;
	for (i = 0; i < len && line.len < sizeof(line.text) - 1; i++)
		line.text[line.len++] = (unsigned char)msg[i] < ' ' ? '?' : msg[i];
	graft_end_line(&line, w->task);
}
