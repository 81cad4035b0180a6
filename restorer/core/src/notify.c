// SPDX-License-Identifier: Apache-2.0
/* What the restore itself has caused descriptors of inotify(7) and fanotify(7) to tell. */
#include "core.h"
#include "syscall.h"

#include <linux/fanotify.h>
#include <linux/fcntl.h>

/* Each event of fanotify(7) comes with a descriptor. */
static void close_files(const char *buf, int64_t len)
{
	const struct fanotify_event_metadata *event = (const struct fanotify_event_metadata *)buf;

	while (FAN_EVENT_OK(event, len)) {
		if (event->fd >= 0)
			sys1(__NR_close, event->fd);
		event = FAN_EVENT_NEXT(event, len);
	}
}

int64_t core_drain_events(const struct crpie_op *op)
{
	char buf[4096] __attribute__((aligned(8)));
	int64_t flags = sys3(__NR_fcntl, op->drain_events.fd, F_GETFL, 0), len;

	if (flags < 0)
		return flags;
	sys3(__NR_fcntl, op->drain_events.fd, F_SETFL, flags | O_NONBLOCK);
	while ((len = sys3(__NR_read, op->drain_events.fd, (long)buf, sizeof(buf))) > 0) {
		if (op->drain_events.fanotify)
			close_files(buf, len);
	}
	sys3(__NR_fcntl, op->drain_events.fd, F_SETFL, flags);
	return len == -EAGAIN ? 0 : len;
}
