# SPDX-License-Identifier: Apache-2.0
"""A multiprocessing.Pool with a stream of tasks, processes that pass items on through queues, semaphores, events, a barrier,
a shared array and pipes, all at work."""
import multiprocessing
import threading

from load import SOME, Client, check, drive, finish

WORKERS = 3
mp = multiprocessing.get_context("fork")
runs = mp.Array("Q", WORKERS * 2)  # how many tasks have been run: pool's first, then the chain's
slots = mp.BoundedSemaphore(2)
halves = mp.Barrier(WORKERS)


def square(n):
    with slots, runs.get_lock():
        runs[n % WORKERS] += 1
    return n, n * n


def link(number, take, give):
    """One process of the chain: every item goes on, one larger."""
    for item in iter(take.get, None):
        with runs.get_lock():
            runs[WORKERS + number] += 1
        give.put(item + 1)
        take.task_done()
    halves.wait()
    take.task_done()


def echo(pipe, quiet):
    while not quiet.is_set():
        if pipe.poll(0.05):
            pipe.send(pipe.recv()[::-1])


def main():
    queues = [mp.JoinableQueue(2) for _ in range(WORKERS)] + [mp.Queue()]
    chain = [mp.Process(target=link, args=(i, queues[i], queues[i + 1])) for i in range(WORKERS)]
    here, there = mp.Pipe()
    quiet = mp.Event()
    echoing = mp.Process(target=echo, args=(there, quiet))
    for p in chain + [echoing]:
        p.start()
    pool = mp.Pool(WORKERS)
    numbers, served = iter(range(1, 1 << 60)), threading.Semaphore(8)
    ending = False

    def tasks():
        for n in numbers:
            served.acquire()
            if ending:
                return
            yield n

    squares = pool.imap(square, tasks())

    def pooled(n):
        check("task %d of the pool" % n, next(squares), (n, n * n))
        served.release()

    def chained(n):
        queues[0].put(n)
        check("item %d of the chain" % n, queues[-1].get(), n + WORKERS)

    def echoed(n):
        data = b"%d " % n * 2000
        here.send(data)
        check("echo %d" % n, here.recv(), data[::-1])

    clients = [Client("pool", pooled), Client("chain", chained), Client("pipe", echoed)]
    drive(clients, SOME)

    ending = True
    served.release()
    rest = sum(1 for _ in squares)
    check("tasks that the pool has run", sum(runs[:WORKERS]), clients[0].done + rest)
    check("items of each process of the chain", runs[WORKERS:], [clients[1].done] * WORKERS)
    pool.close()
    pool.join()
    for q in queues[:-1]:
        q.put(None)
    for q in queues[:-1]:
        q.join()
    quiet.set()
    for p in chain + [echoing]:
        p.join()
        check("exit status of a process", p.exitcode, 0)
    finish()


main()
