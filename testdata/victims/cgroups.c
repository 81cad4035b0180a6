/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process, a thread of its own and a child in a cgroup namespace, cgroup_namespaces(7): after the restore each of
 * them sees its cgroups as before, and all of them see one namespace. Arguments say which files they write themselves
 * to: root=FILE before the namespace is made, leader=FILE, thread=FILE and child=FILE after that. With "plain" there is
 * no child: CRIU 4.1 restores none that is in the same cgroups as CRIU was ("No set 1 found").
 */
#include "victim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

int victim_failures;

static char **words;
static pthread_barrier_t ready, go;

static void join(const char *who)
{
	size_t length = strlen(who);

	for (char **word = words; *word; word++) {
		int fd;

		if (strncmp(*word, who, length) != 0 || (*word)[length] != '=')
			continue;
		MUST((fd = open(*word + length + 1, O_WRONLY)) >= 0);
		MUST(write(fd, "0", 1) == 1 && close(fd) == 0);
	}
}

struct view {
	char cgroups[8192], namespace[64];
};

static void look(struct view *v)
{
	int fd = open("/proc/thread-self/cgroup", O_RDONLY);

	memset(v, 0, sizeof(*v));
	MUST(fd >= 0 && read(fd, v->cgroups, sizeof(v->cgroups) - 1) > 0 && close(fd) == 0);
	MUST(readlink("/proc/thread-self/ns/cgroup", v->namespace, sizeof(v->namespace) - 1) > 0);
}

static void compare(const char *who, const struct view *before, const struct view *leader)
{
	struct view now;

	look(&now);
	CHECK(strcmp(now.cgroups, before->cgroups) == 0, "cgroups of the %s:\n%swere\n%s", who, now.cgroups,
	      before->cgroups);
	CHECK(strcmp(now.namespace, leader->namespace) == 0, "the %s is in %s, the leader in %s", who, now.namespace,
	      leader->namespace);
}

static void *thread(void *leader)
{
	struct view mine;

	join("thread");
	look(&mine);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&go);
	compare("thread", &mine, leader);
	return NULL;
}

static void child(int started, int resume)
{
	struct view mine, leader;

	join("child");
	look(&mine);
	MUST(write(started, "", 1) == 1);
	MUST(read(resume, &leader, sizeof(leader)) == sizeof(leader));
	compare("child", &mine, &leader);
	_exit(victim_failures != 0);
}

int main(int argc, char **argv)
{
	int started[2], resume[2], status;
	struct view mine, now;
	pthread_t other;
	char byte;
	pid_t pid = 0;
	int plain = argc > 1 && strcmp(argv[1], "plain") == 0;

	words = argv + 1;
	victim_begin();
	join("root");
	MUST(unshare(CLONE_NEWCGROUP) == 0);
	join("leader");
	look(&mine);
	if (!plain) {
		MUST(pipe(started) == 0 && pipe(resume) == 0 && (pid = fork()) >= 0);
		if (pid == 0)
			child(started[1], resume[0]);
		MUST(read(started[0], &byte, 1) == 1);
	}
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&go, NULL, 2);
	MUST(pthread_create(&other, NULL, thread, &now) == 0);
	pthread_barrier_wait(&ready);

	victim_wait();
	look(&now);
	compare("leader", &mine, &now);
	pthread_barrier_wait(&go);
	pthread_join(other, NULL);
	if (plain)
		return victim_end();
	MUST(write(resume[1], &now, sizeof(now)) == sizeof(now));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %#x", status);
	return victim_end();
}
