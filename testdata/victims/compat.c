/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 32-bit program without a libc (-m32 -nostdlib): says that it is ready, waits for SIGUSR1, passes. System calls by
 * int 0x80 with the numbers of arch/x86/entry/syscalls/syscall_32.tbl.
 */
static int call(int nr, int a, int b, int c, int d)
{
	int result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return result;
}

enum { EXIT = 1, WRITE = 4, GETPID = 20, RT_SIGPROCMASK = 175, RT_SIGTIMEDWAIT = 177, SIGUSR1 = 10 };

static void say(const char *text)
{
	int length = 0;

	while (text[length])
		length++;
	call(WRITE, 1, (int)text, length, 0);
}

static void say_number(unsigned n)
{
	char digit[2] = { '0' + n % 10, 0 };

	if (n >= 10)
		say_number(n / 10);
	say(digit);
}

void _start(void)
{
	unsigned set[2] = { 1u << (SIGUSR1 - 1), 0 };

	call(RT_SIGPROCMASK, 0, (int)set, 0, sizeof(set));
	say("READY ");
	say_number(call(GETPID, 0, 0, 0, 0));
	say("\n");
	while (call(RT_SIGTIMEDWAIT, (int)set, 0, 0, sizeof(set)) != SIGUSR1)
		;
	say("PASS\n");
	call(EXIT, 0, 0, 0, 0);
}
