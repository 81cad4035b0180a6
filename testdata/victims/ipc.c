/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System V objects in an IPC namespace of one's own: shared memory that parent and child have attached, that nobody
 * has, that is attached in part (with an argument: criu cannot restore it), or removed already; semaphores; messages;
 * and the namespace's settings.
 */
#include "victim.h"

#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define SIZE (64 << 10)
#define PAGE 4096
#define ODD 1000 /* bytes: no whole page */

int victim_failures;

static int both, nobody, part, removed, sems, queue;
static char *shared, *odd, *holes, *gone;
static pid_t child;

struct message {
	long type;
	char text[32];
};

static void setting(const char *name, const char *value)
{
	FILE *f = fopen(name, "w");

	MUST(f && fputs(value, f) >= 0 && fclose(f) == 0);
}

static long get_setting(const char *name)
{
	FILE *f = fopen(name, "r");
	long value = -1;

	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

static int change(int number, int by)
{
	struct sembuf op = { .sem_num = number, .sem_op = by };
	int result;

	while ((result = semop(sems, &op, 1)) < 0 && errno == EINTR) /* semop(2) is never restarted */
		;
	return result;
}

/* The child waits for semaphore 0, answers a byte of the shared memory with the next one, and posts semaphore 1. */
static void answer(void)
{
	while (change(0, -1) == 0 && shared[0]) {
		shared[1] = shared[0] + 1;
		change(1, 1);
	}
	_exit(shared[0] != 0);
}

static void ask(char byte)
{
	shared[0] = byte;
	MUST(change(0, 1) == 0);
	if (byte)
		MUST(change(1, -1) == 0);
}

static void setup(int parts)
{
	unsigned short values[] = { 0, 0, 7, 65 };
	struct message first = { 3, "three" }, second = { 5, "five and more" };

	MUST(unshare(CLONE_NEWIPC) == 0);
	setting("/proc/sys/kernel/msgmnb", "20000");
	setting("/proc/sys/kernel/shmmni", "100");

	MUST(semctl(semget(IPC_PRIVATE, 1, 0600), 0, IPC_RMID) == 0); /* ids that do not begin at 0 */
	MUST((sems = semget(0x5e3, 4, IPC_CREAT | 0640)) >= 0 && semctl(sems, 0, SETALL, values) == 0);
	MUST((queue = msgget(0x35a, IPC_CREAT | 0622)) >= 0);
	MUST(msgsnd(queue, &first, 5, 0) == 0 && msgsnd(queue, &second, 13, 0) == 0);

	MUST((both = shmget(0x511, SIZE, IPC_CREAT | 0640)) >= 0);
	MUST((shared = shmat(both, NULL, 0)) != (void *)-1);
	fill(shared + PAGE, SIZE - PAGE, 1);
	MUST((odd = shmat(shmget(IPC_PRIVATE, ODD, 0600), NULL, 0)) != (void *)-1);
	fill(odd, ODD, 2);

	MUST((nobody = shmget(0x512, SIZE, IPC_CREAT | 0604)) >= 0);
	MUST((holes = shmat(nobody, NULL, 0)) != (void *)-1);
	fill(holes, SIZE, 3);
	MUST(shmdt(holes) == 0);

	MUST((part = shmget(0x513, SIZE, IPC_CREAT | 0600)) >= 0);
	MUST((holes = shmat(part, NULL, 0)) != (void *)-1);
	fill(holes, SIZE, 4);
	MUST(mprotect(holes + 8 * PAGE, PAGE, PROT_READ) == 0);
	MUST(!parts || munmap(holes + 4 * PAGE, 4 * PAGE) == 0);

	MUST((removed = shmget(0x514, SIZE, IPC_CREAT | 0600)) >= 0);
	MUST((gone = shmat(removed, NULL, 0)) != (void *)-1);
	fill(gone, SIZE, 5);
	MUST(shmctl(removed, IPC_RMID, NULL) == 0);

	MUST((child = fork()) >= 0);
	if (child == 0)
		answer();
	ask(41);
	MUST(shared[1] == 42);
}

static void check_memory(int parts)
{
	struct shmid_ds ds;
	char *view;
	int status;

	ask(91);
	CHECK(shared[1] == 92, "the child's answer is %d", shared[1]);
	check_fill("shared", shared + PAGE, SIZE - PAGE, 1);
	check_fill("of no whole page", odd, ODD, 2);
	CHECK(shmget(0x511, SIZE, 0) == both, "segment 0x511 has id %d, was %d", shmget(0x511, SIZE, 0), both);
	CHECK(shmctl(both, IPC_STAT, &ds) == 0 && ds.shm_nattch == 2 && (ds.shm_perm.mode & 0777) == 0640 &&
		      ds.shm_segsz == SIZE,
	      "segment %d: %lu attached, mode %#o, %zu bytes", both, (unsigned long)ds.shm_nattch, ds.shm_perm.mode,
	      ds.shm_segsz);

	CHECK(shmctl(nobody, IPC_STAT, &ds) == 0 && ds.shm_nattch == 0, "%lu have attached what nobody had",
	      (unsigned long)ds.shm_nattch);
	view = shmat(nobody, NULL, SHM_RDONLY);
	CHECK(view != (void *)-1, "segment %d: %s", nobody, strerror(errno));
	if (view != (void *)-1)
		check_fill("attached by nobody", view, SIZE, 3);

	check_fill("first part", holes, 4 * PAGE, 4);
	CHECK(!parts == (msync(holes + 4 * PAGE, PAGE, MS_ASYNC) == 0), "the hole: %s", strerror(errno));
	view = shmat(part, NULL, 0);
	CHECK(view != (void *)-1 && memcmp(view + 8 * PAGE, holes + 8 * PAGE, SIZE - 8 * PAGE) == 0,
	      "the second part differs");
	if (view != (void *)-1)
		check_fill("with the hole", view, SIZE, 4);

	check_fill("removed", gone, SIZE, 5);
	CHECK(shmctl(removed, IPC_STAT, &ds) == 0 && ds.shm_perm.__key == IPC_PRIVATE, "segment %d, removed: key %#x",
	      removed, ds.shm_perm.__key);
	ask(0);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's status is %#x", status);
}

static void check_others(void)
{
	struct message m;
	struct msqid_ds ds;

	CHECK(semget(0x5e3, 4, 0) == sems, "semaphores 0x5e3 have id %d, were %d", semget(0x5e3, 4, 0), sems);
	CHECK(semctl(sems, 2, GETVAL) == 7 && semctl(sems, 3, GETVAL) == 65, "semaphores %d, %d",
	      semctl(sems, 2, GETVAL), semctl(sems, 3, GETVAL));
	CHECK(msgget(0x35a, 0) == queue && msgctl(queue, IPC_STAT, &ds) == 0 && ds.msg_qnum == 2 &&
		      (ds.msg_perm.mode & 0777) == 0622,
	      "queue 0x35a has id %d, was %d, mode %#o", msgget(0x35a, 0), queue, ds.msg_perm.mode);
	CHECK(ds.msg_qbytes == 20000, "the queue may have %lu bytes", (unsigned long)ds.msg_qbytes);
	CHECK(msgrcv(queue, &m, sizeof(m.text), 5, IPC_NOWAIT) == 13 && memcmp(m.text, "five and more", 13) == 0,
	      "message 5: %s", strerror(errno));
	CHECK(msgrcv(queue, &m, sizeof(m.text), 0, IPC_NOWAIT) == 5 && m.type == 3 && memcmp(m.text, "three", 5) == 0,
	      "message 3: %s", strerror(errno));
	CHECK(get_setting("/proc/sys/kernel/msgmnb") == 20000 && get_setting("/proc/sys/kernel/shmmni") == 100,
	      "settings %ld, %ld", get_setting("/proc/sys/kernel/msgmnb"), get_setting("/proc/sys/kernel/shmmni"));
}

int main(int argc, char **argv)
{
	(void)argv;
	victim_begin();
	setup(argc > 1);
	victim_wait();
	check_memory(argc > 1);
	check_others();
	return victim_end();
}
