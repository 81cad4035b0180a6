# SPDX-License-Identifier: Apache-2.0
"""Prints what reached it, after it was signalled: by SIGUSR2, an eventfd (descriptor 100), a pipe (101 and 102), a
socket (103 and 104), a FIFO, unix sockets with a path, files in the layouts of sysgenid and vmclock; and its host's
name."""
import mmap
import os
import signal
import socket
import struct

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
calls = []
signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))


def keep(fd, number):
    os.dup2(fd, number)
    os.close(fd)
    os.set_blocking(number, False)


def listening(kind, path):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(path)
    if kind != socket.SOCK_DGRAM:
        s.listen()
    s.setblocking(False)
    return s


def mapped(path, data):
    with open(path, "wb") as f:
        f.write(data)
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), len(data), mmap.MAP_SHARED, mmap.PROT_READ)


keep(os.eventfd(0), 100)
for fd, number in zip(os.pipe(), (101, 102)):
    keep(fd, number)
for s, number in zip(socket.socketpair(), (103, 104)):
    keep(s.detach(), number)
os.mkfifo("fifo")
fifo = os.open("fifo", os.O_RDWR | os.O_NONBLOCK)
dgram, stream = listening(socket.SOCK_DGRAM, "dgram"), listening(socket.SOCK_STREAM, "stream")
packet = listening(socket.SOCK_SEQPACKET, "packet")
sysgenid = mapped("sysgenid", struct.pack("<I", 7))
vmclock = mapped("vmclock", struct.pack("<IIHBBIQQ", 0x4b4c4356, 112, 1, 0, 0, 4, 5, 1 << 8) + bytes(72) +
                 struct.pack("<Q", 7))


def read(what):
    try:
        return repr(what())
    except BlockingIOError:
        return "nothing"


print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
print("DREW signal", calls)
print("DREW eventfd", read(lambda: os.eventfd_read(100)))
print("DREW pipe", read(lambda: os.read(101, 100)))
print("DREW socket", read(lambda: os.read(103, 100)))
print("DREW fifo", read(lambda: os.read(fifo, 100)))
print("DREW dgram", read(lambda: dgram.recv(100)))
print("DREW stream", read(lambda: stream.accept()[0].recv(100)))
print("DREW packet", read(lambda: packet.accept()[0].recv(100)))
print("DREW sysgenid", struct.unpack("<I", sysgenid)[0])
print("DREW vmclock", *struct.unpack_from("<IQQ", vmclock, 12), struct.unpack_from("<Q", vmclock, 104)[0])
print("DREW hostname", socket.gethostname())
print("PASS")
