// SPDX-License-Identifier: Apache-2.0
/*
 * Filling memory from the pages files. Large tasks are filled by several readers: short-lived threads, each taking the
 * next piece of work. They are gone before the task's own threads are created.
 */
#include "core.h"
#include "syscall.h"

#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/uio.h>

#define PAGE ((uint64_t)CRPIE_PAGE)
#define PIECE (256UL << 10) /* bytes that a reader takes at a time, unless one run has more */
#define MAX_IOV 256

struct fill {
	const struct crpie_run *runs;
	uint64_t nr;
	uint64_t next;  /* first run that is not taken */
	int64_t error;  /* of the first reader that failed */
	uint64_t where; /* its address */
	uint64_t *at;   /* the address at work */
	int lock;
};

static void lock(int *word)
{
	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE))
		sys0(__NR_sched_yield);
}

static void unlock(int *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/* Takes runs that follow each other in one file, about PIECE bytes of them, MAX_IOV at most. */
static uint64_t take(struct fill *fill, const struct crpie_run **first)
{
	uint64_t i, bytes = 0;

	lock(&fill->lock);
	*first = &fill->runs[fill->next];
	for (i = fill->next; i < fill->nr && bytes < PIECE && i - fill->next < MAX_IOV; i++) {
		const struct crpie_run *run = &fill->runs[i];

		if (bytes && (run->fd != run[-1].fd || run->off != run[-1].off + run[-1].len))
			break;
		bytes += run->len;
	}
	i -= fill->next;
	fill->next += i;
	unlock(&fill->lock);
	return i;
}

/* preadv(2) of nr adjoining runs; short reads go on where they stopped. */
static int64_t read_runs(const struct crpie_run *run, uint64_t nr, uint64_t *where)
{
	struct iovec iov[MAX_IOV], *at = iov;
	uint64_t i, off = run->off;

	for (i = 0; i < nr; i++) {
		iov[i].iov_base = (void *)run[i].addr;
		iov[i].iov_len = run[i].len;
	}
	while (nr) {
		int64_t got = sys6(__NR_preadv, run->fd, (long)at, nr, off, 0, 0);

		if (got == -EINTR)
			continue;
		if (got <= 0) {
			*where = (uint64_t)at->iov_base;
			return got ? got : -ENODATA;
		}
		off += got;
		while (nr && (uint64_t)got >= at->iov_len) {
			got -= at->iov_len;
			at++;
			nr--;
		}
		if (nr) {
			at->iov_base = (char *)at->iov_base + got;
			at->iov_len -= got;
		}
	}
	return 0;
}

/* Page faults one by one, in preadv(2), would take longer. A kernel before 5.14 refuses: then they happen. */
static void populate(const struct crpie_run *run, uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		if (run[i].len > PAGE)
			sys3(__NR_madvise, run[i].addr, run[i].len, MADV_POPULATE_WRITE);
}

static void work(struct fill *fill)
{
	const struct crpie_run *first;
	uint64_t nr, where = 0;
	int64_t ret;

	while (!__atomic_load_n(&fill->error, __ATOMIC_RELAXED) && (nr = take(fill, &first))) {
		__atomic_store_n(fill->at, first->addr, __ATOMIC_RELAXED);
		populate(first, nr);
		ret = read_runs(first, nr, &where);
		if (ret < 0) {
			fill->where = where;
			__atomic_store_n(&fill->error, ret, __ATOMIC_RELEASE);
		}
	}
}

static void reader(void *arg)
{
	work(arg);
	for (;;)
		sys1(__NR_exit, 0);
}

/* The kernel clears *tid and wakes its futex when the reader is gone, set_tid_address(2). */
static int64_t start_reader(struct core *core, struct fill *fill, uint64_t index, uint32_t *tid)
{
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
		.child_tid = (uint64_t)tid,
		.parent_tid = (uint64_t)tid,
		.stack = core->task->reader_stack + index * CRPIE_STACK_SLOT,
		.stack_size = core->task->reader_stack_size,
	};

	return core_clone_onto(&args, sizeof(args), reader, fill);
}

static void join(uint32_t *tid)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(tid, __ATOMIC_ACQUIRE)))
		sys4(__NR_futex, (long)tid, FUTEX_WAIT, seen, 0); /* the kernel's wake is not a private one */
}

/* Readers that cannot be started are no failure: fewer readers fill the same memory. */
int64_t core_read_pages(struct core *core, const struct crpie_op *op)
{
	struct fill fill = {
		.runs = (const struct crpie_run *)op->read_pages.runs,
		.nr = op->read_pages.nr,
		.at = &core->status->detail,
	};
	uint32_t tid[CRPIE_MAX_READERS] = { 0 };
	uint64_t i, started;

	for (started = 0; started < op->read_pages.readers && started < CRPIE_MAX_READERS; started++)
		if (start_reader(core, &fill, started, &tid[started]) < 0)
			break;
	work(&fill);
	for (i = 0; i < started; i++)
		join(&tid[i]);
	core->status->detail = fill.where;
	return fill.error;
}

#define WINDOW (2UL << 20) /* bytes of a pages file that are mapped at a time */
#define BOUNCE (64UL << 10)

static char bounce[BOUNCE] __attribute__((aligned(64)));

/* Processors fetch ahead only within a page, so what follows in the next one is asked for here: a tenth of the time. */
static int same(const uint64_t *a, const uint64_t *b)
{
	const uint64_t words = PAGE / sizeof(*a);
	uint64_t i, diff = 0;

	for (i = 0; i < words; i += 8) {
		__builtin_prefetch(&a[i + words]);
		__builtin_prefetch(&b[i + words]);
		diff = (a[i] ^ b[i]) | (a[i + 1] ^ b[i + 1]) | (a[i + 2] ^ b[i + 2]) | (a[i + 3] ^ b[i + 3]) |
		       (a[i + 4] ^ b[i + 4]) | (a[i + 5] ^ b[i + 5]) | (a[i + 6] ^ b[i + 6]) | (a[i + 7] ^ b[i + 7]);
		if (diff)
			return 0;
	}
	return 1;
}

static void copy_page(void *to, const void *from)
{
	uint64_t words = PAGE / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

static void update(uint64_t addr, const char *with, uint64_t len)
{
	uint64_t at;

	for (at = 0; at < len; at += PAGE)
		if (!same((uint64_t *)(addr + at), (uint64_t *)(with + at)))
			copy_page((void *)(addr + at), with + at);
}

/*
 * Compares with the file's pages themselves. What cannot be mapped, and a file that has become too short, which would end this
 * process with SIGBUS, is left to be read.
 */
static int update_mapped(const struct crpie_run *piece)
{
	int64_t map;

	if (sys3(__NR_lseek, piece->fd, 0, SEEK_END) < (int64_t)(piece->off + piece->len))
		return 0;
	map = sys6(__NR_mmap, 0, piece->len, PROT_READ, MAP_PRIVATE, piece->fd, piece->off);
	if (map < 0)
		return 0;
	update(piece->addr, (const char *)map, piece->len);
	sys2(__NR_munmap, map, piece->len);
	return 1;
}

static int64_t update_read(struct core *core, const struct crpie_run *run)
{
	uint64_t done, len;

	for (done = 0; done < run->len; done += len) {
		struct crpie_run piece = { (uint64_t)bounce, 0, run->off + done, run->fd };
		int64_t ret;

		len = run->len - done < BOUNCE ? run->len - done : BOUNCE;
		piece.len = len;
		core->status->detail = run->addr + done;
		ret = read_runs(&piece, 1, &core->status->detail);
		if (ret < 0)
			return ret;
		update(run->addr + done, bounce, len);
	}
	return 0;
}

/* Memory that a child has from its parent stays shared page by page, unless the child's differed. */
int64_t core_update_pages(struct core *core, const struct crpie_op *op)
{
	const struct crpie_run *run = (const struct crpie_run *)op->update_pages.runs, *end = run + op->update_pages.nr;
	uint64_t done, len;

	for (; run < end; run++) {
		for (done = 0; done < run->len; done += len) {
			struct crpie_run piece = { run->addr + done, 0, run->off + done, run->fd };
			int64_t ret;

			len = run->len - done < WINDOW ? run->len - done : WINDOW;
			piece.len = len;
			core->status->detail = piece.addr;
			if (update_mapped(&piece))
				continue;
			ret = update_read(core, &piece);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}
