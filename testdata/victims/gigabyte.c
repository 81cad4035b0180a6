/* SPDX-License-Identifier: Apache-2.0 */
/* One gibibyte of touched memory, or as many MiB as the argument says. */
#include "victim.h"
#include <sys/mman.h>

int victim_failures;

int main(int argc, char **argv)
{
	size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) << 20;
	void *at;

	victim_begin();
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(at != MAP_FAILED);
	fill(at, bytes, 7);
	victim_wait();
	check_fill("memory", at, bytes, 7);
	return victim_end();
}
