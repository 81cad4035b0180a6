// SPDX-License-Identifier: Apache-2.0
/*
 * Log lines. With a supervisor they are his. Else nobody waits outside, and every descriptor is the application's: a
 * line goes to the file
 * that crpie graft --log-file named, opened for that line, or else to standard error if the images say that this is a
 * place for messages. One write at the end of the file: lines of tasks that write at once stay whole. A line that would
 * block is dropped.
 */
#include "graft.h"
#include "syscall.h"

#include <asm/fcntl.h>
#include <asm/poll.h>
#include <linux/fs.h>
#include <linux/uio.h>

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
		/* clang-format off */
	case CRPIE_HOOK_INIT: return "init";
	case CRPIE_HOOK_EXIT: return "exit";
	case CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN_THREAD: return "hook PIE_RST_PRE_SIGRETURN_THREAD";
	default: return "hook PIE_RST_PRE_SIGRETURN";
		/* clang-format on */
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

/* fs.protected_regular denies O_CREAT for another user's file in /tmp, proc_sys_fs(5): what exists is opened without. */
static int64_t open_log(uint64_t path)
{
	static const int creates[] = { 0, O_CREAT | O_EXCL, 0 /* another task was faster */,
				       O_CREAT /* through a link */ };
	int64_t fd = -ENOENT;
	uint32_t i;

	for (i = 0; i < sizeof(creates) / sizeof(creates[0]) && (fd == -ENOENT || fd == -EEXIST); i++) {
		fd = sys4(__NR_openat, -100 /* AT_FDCWD */, path,
			  O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | creates[i], 0600);
		if (fd >= 0 && creates[i] & O_EXCL)
			sys2(__NR_fchmod, fd, 0600); /* whatever the umask: the next line opens it again */
	}
	return fd;
}

static int write_log(const struct graft_line *line, uint64_t path)
{
	int64_t fd = open_log(path);

	if (fd < 0)
		return 0;
	if (can_write(fd))
		sys3(__NR_write, fd, (long)line->text, line->len);
	sys1(__NR_close, fd);
	return 1;
}

/* The position -1 is the description's own, which moves behind the line, pwritev2(2). */
static void append(const struct graft_line *line, int fd)
{
	struct iovec all = { (void *)line->text, line->len };

	if (sys6(__NR_pwritev2, fd, (long)&all, 1, -1, -1, RWF_APPEND) < 0) /* Linux 4.16 */
		sys3(__NR_write, fd, (long)line->text, line->len);
}

void graft_end_line(struct graft_line *line, const struct graft_task *task)
{
	line->text[line->len++] = '\n';
	if (task->log_path && write_log(line, task->log_path))
		return;
	if (task->use_stderr == GRAFT_STDERR_NONE || !can_write(2))
		return;
	if (task->use_stderr == GRAFT_STDERR_APPEND)
		append(line, 2);
	else
		sys3(__NR_write, 2, (long)line->text, line->len);
}

/* Control characters would forge lines. */
void graft_log(const struct crpie_ctx *ctx, uint32_t level, const char *msg, uint64_t len)
{
	const struct graft_worker *w = (const struct graft_worker *)ctx->reserved[0];
	struct graft_line line;
	uint64_t i;

	if (level > w->task->log_level)
		return;
	if (len > CRPIE_LOG_LINE_MAX)
		len = CRPIE_LOG_LINE_MAX;
	if (w->task->patience_ns) {
		graft_say(w, level, msg, len);
		return;
	}
	graft_begin_line(&line, w);
	for (i = 0; i < len && line.len < sizeof(line.text) - 1; i++)
		line.text[line.len++] = (unsigned char)msg[i] < ' ' ? '?' : msg[i];
	graft_end_line(&line, w->task);
}
