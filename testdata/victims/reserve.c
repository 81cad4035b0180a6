/* SPDX-License-Identifier: Apache-2.0 */
/* Reserves more address space than any machine has memory, as databases do, and uses a page of it. */
#include "victim.h"

#include <sys/mman.h>

#define RESERVED (4UL << 40)
#define USED (1UL << 39)

int victim_failures;

int main(void)
{
	char *reserved, *page;

	victim_begin();
	reserved = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(reserved != MAP_FAILED);
	page = reserved + USED;
	MUST(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
	strcpy(page, "used");
	victim_wait();
	CHECK(strcmp(page, "used") == 0, "the page");
	CHECK(mprotect(page + 4096, 4096, PROT_READ | PROT_WRITE) == 0 && page[4096] == 0, "the next page: %m");
	CHECK(mmap(reserved, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == reserved,
	      "the rest: %m");
	return victim_end();
}
