/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of high numbers, which a child shares; the limit for them is the application's own. */
#include "victim.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HIGH 3000

int victim_failures;

static void check(const struct rlimit *was)
{
	struct rlimit now;
	char byte = 0;

	CHECK(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == was->rlim_cur && now.rlim_max == was->rlim_max,
	      "limit %ju, %ju", (uintmax_t)now.rlim_cur, (uintmax_t)now.rlim_max);
	CHECK(pread(HIGH, &byte, 1, 0) == 1 && byte == 'x' && fcntl(HIGH + 1, F_GETFD) == FD_CLOEXEC, "descriptor %d",
	      HIGH);
	CHECK(lseek(HIGH, 0, SEEK_CUR) == 1, "position %ld", (long)lseek(HIGH, 0, SEEK_CUR));
	CHECK(write(HIGH + 3, "p", 1) == 1 && read(HIGH + 2, &byte, 1) == 1 && byte == 'p', "pipe");
}

int main(void)
{
	struct rlimit limit;
	int fd, go[2], status;
	pid_t child;
	char byte;

	victim_begin();
	MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = HIGH + 10;
	MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	MUST((fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0 && write(fd, "x", 1) == 1);
	MUST(dup2(fd, HIGH) == HIGH && fcntl(fd, F_DUPFD_CLOEXEC, HIGH + 1) == HIGH + 1 && close(fd) == 0);
	MUST(pipe(go) == 0 && fcntl(go[0], F_DUPFD, HIGH + 2) == HIGH + 2 &&
	     fcntl(go[1], F_DUPFD, HIGH + 3) == HIGH + 3);
	MUST(close(go[0]) == 0 && close(go[1]) == 0 && pipe(go) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) == 0)
			check(&limit);
		fflush(stdout);
		_exit(victim_failures);
	}
	victim_wait();
	check(&limit);
	close(go[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's wait status is %#x", status);
	return victim_end();
}
