/* SPDX-License-Identifier: Apache-2.0 */
/* A dynamically linked program that uses a little of everything. Writes only below its working directory. */
#include "parts.h"
#include <fcntl.h>

int victim_failures;

void read_proc(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	size_t have = 0;
	ssize_t n;

	MUST(fd >= 0);
	while (have < size - 1 && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += n;
	buf[have] = 0;
	close(fd);
}

int main(void)
{
	victim_begin();
	files_setup();
	signals_setup();
	timers_setup();
	attrs_setup();
	memory_setup(); /* last: nothing after it needs more heap, so the break stays */
	victim_wait();
	attrs_verify();
	signals_verify();
	timers_verify();
	memory_verify();
	files_verify();
	return victim_end();
}
