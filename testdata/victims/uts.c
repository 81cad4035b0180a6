/* SPDX-License-Identifier: Apache-2.0 */
/* A parent and a child in a UTS namespace of their own, with both of its names, uts_namespaces(7). */
#include "victim.h"

#include <sched.h>
#include <sys/utsname.h>
#include <sys/wait.h>

int victim_failures;

#define NODE "victim-of-a-dump"
#define DOMAIN "example.org"

static void check_names(const char *who)
{
	struct utsname names;

	MUST(uname(&names) == 0);
	CHECK(strcmp(names.nodename, NODE) == 0, "%s: host name %s", who, names.nodename);
	CHECK(strcmp(names.domainname, DOMAIN) == 0, "%s: domain name %s", who, names.domainname);
}

static pid_t start_child(void)
{
	sigset_t go;
	pid_t pid = fork();

	if (pid)
		return pid;
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	while (sigwaitinfo(&go, NULL) != SIGUSR1)
		;
	check_names("child");
	exit(victim_failures);
}

int main(void)
{
	pid_t child;
	int status;

	victim_begin();
	MUST(unshare(CLONE_NEWUTS) == 0);
	MUST(sethostname(NODE, strlen(NODE)) == 0 && setdomainname(DOMAIN, strlen(DOMAIN)) == 0);
	MUST((child = start_child()) > 0);

	victim_wait();
	check_names("parent");
	MUST(kill(child, SIGUSR1) == 0 && waitpid(child, &status, 0) == child);
	CHECK(status == 0, "child: wait status %#x", status);
	return victim_end();
}
