# SPDX-License-Identifier: Apache-2.0
"""Starts redis-server on a unix socket and asks it, after it was signalled, for its ids and for a random key."""
import os
import re
import signal
import socket
import subprocess
import time

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--logfile",
                           "redis.log"])


def ask(*words):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("redis.sock")
        s.sendall((" ".join(words) + "\r\nQUIT\r\n").encode())
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


while not os.path.exists("redis.sock"):
    time.sleep(0.01)
ask("MSET", *("%d x" % key for key in range(1000)))
print("READY", os.getpid(), flush=True)
signal.sigwait([signal.SIGUSR1])
info = ask("INFO")
for name in "run_id", "master_replid", "master_replid2":
    print("DREW", name, re.search(name + ":(\\w+)", info).group(1))
print("DREW RANDOMKEY", [ask("RANDOMKEY").split()[1] for _ in range(4)])
print("DREW genpass", ask("ACL GENPASS").split()[1])
server.kill()
server.wait()
print("PASS")
