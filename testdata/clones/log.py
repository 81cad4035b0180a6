# SPDX-License-Identifier: Apache-2.0
"""Has files open in its directory: app.log to append, twice with one position, and once more with another; gone.log,
which is removed; data, to read and write. Prints, after it was signalled, what each descriptor is, and writes."""
import fcntl
import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
flags = os.O_WRONLY | os.O_CREAT
named = {"first": os.open("app.log", flags | os.O_APPEND, 0o640)}
os.write(named["first"], b"before\n")
named["second"] = os.dup(named["first"])
os.set_inheritable(named["second"], True)
named["other"] = os.open("app.log", flags | os.O_APPEND | os.O_DSYNC)
named["gone"] = os.open("gone.log", flags | os.O_NONBLOCK)
os.unlink("gone.log")
named["data"] = os.open("data", os.O_RDWR | os.O_CREAT, 0o600)
os.write(named["data"], b"0123456789")
os.lseek(named["data"], 4, os.SEEK_SET)
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
for name, fd in named.items():
    print("DREW", name, os.path.basename(os.readlink("/proc/self/fd/%d" % fd)), os.lseek(fd, 0, os.SEEK_CUR),
          "%#x" % (fcntl.fcntl(fd, fcntl.F_GETFL) & ~0o100000), os.get_inheritable(fd))
    os.write(fd, name.encode() + b"\n")
print("DREW together", os.lseek(named["first"], 0, os.SEEK_CUR) == os.lseek(named["second"], 0, os.SEEK_CUR),
      os.lseek(named["first"], 3, os.SEEK_SET) == os.lseek(named["second"], 0, os.SEEK_CUR),
      os.lseek(named["other"], 0, os.SEEK_CUR) == 3)
print("PASS")
