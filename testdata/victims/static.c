/* SPDX-License-Identifier: Apache-2.0 */
/* A small statically linked program: memory and one descriptor. */
#include "victim.h"

int victim_failures;
static uint64_t data[128 * 1024] = { 1 };
static const char text[] = "read-only";

int main(void)
{
	uint64_t stack[512];
	char *heap;

	victim_begin();
	MUST(heap = malloc(3 << 20));
	fill(data, sizeof(data), 1);
	fill(stack, sizeof(stack), 2);
	fill(heap, 3 << 20, 3);
	victim_wait();
	check_fill("data", data, sizeof(data), 1);
	check_fill("stack", stack, sizeof(stack), 2);
	check_fill("heap", heap, 3 << 20, 3);
	CHECK(strcmp(text, "read-only") == 0, "text: %s", text);
	return victim_end();
}
