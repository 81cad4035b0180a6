# SPDX-License-Identifier: Apache-2.0
"""A Python program with data, threads, a generator in the middle, a random generator's state and an open file."""
import hashlib
import os
import random
import signal
import threading

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

table = {str(i): [i, i * i, "value %d" % i] for i in range(20000)}
digest = hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest()
random.seed(12345)
first = [random.random() for _ in range(10)]
state = random.getstate()
squares = (i * i for i in range(100))
for _ in range(7):
    next(squares)
log = open("python.log", "w+")
log.write("before\n")
log.flush()
go, answers = threading.Event(), []


def worker(number):
    local = [number] * 1000
    go.wait()
    answers.append(sum(local))


threads = [threading.Thread(target=worker, args=(n,)) for n in range(4)]
for t in threads:
    t.start()

print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])

failures = []


def check(what, got, want):
    if got != want:
        failures.append(what)
        print("DIFFERS %s: %r, was %r" % (what, got, want))


check("table", hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest(), digest)
check("random state", random.getstate(), state)
check("generator", next(squares), 49)
go.set()
for t in threads:
    t.join()
check("threads", sorted(answers), [0, 1000, 2000, 3000])
log.write("after\n")
log.seek(0)
check("log", log.read(), "before\nafter\n")
if not failures:
    print("PASS")
raise SystemExit(1 if failures else 0)
