# SPDX-License-Identifier: Apache-2.0
"""env.py moved|as-it-was: prints, after it was signalled, what getenv(3) finds. moved: the program has copied its
environment into memory of its own before, as programs do that change their title."""
import ctypes
import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
libc.setenv(b"FROM_SETENV", b"old", 1)
if sys.argv[1] == "moved":
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    texts = []
    while environ[len(texts)] is not None:
        texts.append(environ[len(texts)])
    copy = (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
    ctypes.c_void_p.in_dll(libc, "environ").value = ctypes.addressof(copy)
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
for name in "HOME", "NEW", "FROM_SETENV", "FROM_FILE", "ID", "LANG":
    value = libc.getenv(name.encode())
    print("DREW", name, value.decode() if value is not None else "none")
print("DREW length", len(libc.getenv(b"LONG") or b""))
# The program's own calls work on what it finds.
libc.setenv(b"NEW", b"changed again", 1)
libc.setenv(b"LATER", b"later", 1)
print("DREW again", libc.getenv(b"NEW").decode(), libc.getenv(b"LATER").decode())
print("PASS")
