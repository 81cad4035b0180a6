# SPDX-License-Identifier: Apache-2.0
"""draw.py [word…]: prints what it draws after it was signalled: from Python's own generators, OpenSSL (two copies of the
library), sqlite, and with the word gnutls from GnuTLS in two threads."""
import ctypes
import os
import random
import shutil
import signal
import sqlite3
import ssl
import sys
import tempfile
import threading

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
database = sqlite3.connect(":memory:")


def mapped(name):
    return next(line.split()[-1] for line in open("/proc/self/maps") if name in line)


shutil.copy(mapped("/libcrypto.so"), "copy-of-openssl.so")
copy = ctypes.CDLL(os.path.abspath("copy-of-openssl.so"))
gnutls = ctypes.CDLL("libgnutls.so.30") if "gnutls" in sys.argv else None


# The buffer comes before its length, which is last.
def from_library(call, *words):
    buffer = ctypes.create_string_buffer(8)
    if call(*words, buffer, ctypes.c_size_t(8)) < 0:
        raise OSError("no random bytes")
    return buffer.raw.hex()


def nonce():
    return from_library(gnutls.gnutls_rnd, 0)  # GNUTLS_RND_NONCE


def draw():
    yield "random", "%016x" % random.getrandbits(64)
    yield "tempfile", next(tempfile._get_candidate_names())
    yield "ssl", ssl.RAND_bytes(8).hex()
    yield "copy", from_library(copy.RAND_bytes)
    yield "sqlite", database.execute("select hex(randomblob(8))").fetchone()[0]
    if gnutls:
        yield "gnutls", nonce()


go, answers = threading.Event(), []


def worker():
    nonce()
    ready.set()
    go.wait()
    answers.append(nonce())


ready = threading.Event()
if gnutls:
    thread = threading.Thread(target=worker)
    thread.start()
    ready.wait()
list(draw())
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
for name, value in draw():
    print("DREW", name, value)
if gnutls:
    go.set()
    thread.join()
    print("DREW thread", answers[0])
print("PASS")
