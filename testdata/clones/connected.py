# SPDX-License-Identifier: Apache-2.0
"""connected.py connected FAMILY:PORT…: connects to each port of this machine, and prints after it was signalled how it
finds each connection: what it answers to a line, or how it has ended, by recv, send, a duplicate and an epoll set."""
import os
import select
import signal
import socket
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
places = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1")}
epoll, sockets = select.epoll(), []
for word in sys.argv[2:]:
    family, port = word.split(":")
    s = socket.create_connection((places[family][1], int(port)))
    epoll.register(s, select.EPOLLIN)
    sockets.append((s, s.dup()))
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])


def named(call):
    try:
        return repr(call())
    except OSError as e:
        return type(e).__name__ if e.errno is None else os.strerror(e.errno)


hung = {fd for fd, events in epoll.poll(0) if events & select.EPOLLHUP}
for number, (s, copy) in enumerate(sockets):
    if s.fileno() in hung:
        print("DREW", number, "ended", named(lambda: copy.recv(9)), named(lambda: s.send(b"x")), named(s.getpeername))
    else:
        s.sendall(b"hello\n")
        print("DREW", number, named(lambda: copy.recv(9)))
print("PASS")
