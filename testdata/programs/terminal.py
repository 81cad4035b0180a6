# SPDX-License-Identifier: Apache-2.0
"""An interactive bash in a pseudo-terminal, with a pipeline in the foreground that shows numbered lines."""
import os
import pty
import signal

from load import Client, check, drive, finish

AHEAD = 30
take, give = os.pipe()
pid, master = pty.fork()
if pid == 0:
    os.set_inheritable(take, True)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
screen = os.fdopen(master, "r+b", buffering=0)
lines = os.fdopen(os.dup(master), "rb")


def show_until(text):
    """Reads what the terminal shows up to the line that ends in the text; a prompt may be in front of it."""
    line = b""
    while not line.endswith(text):
        line = lines.readline().strip()


# criu restore writes what was on its way through the terminal's output processing a second time: no \\r for it to repeat.
screen.write(b"stty -echo -onlcr; PS1=; PS2=; echo re'a'dy\n")
show_until(b"ready")
screen.write(b"cat <&%d | sed -u 's/^/line /' | while read -r line; do echo \"$line\"; done\n" % take)


def send(n):
    os.write(give, b"%d\n" % n)


def work(n):
    """AHEAD lines are on their way. More might fill the terminal, and criu restore waits then until somebody reads it."""
    send(n + AHEAD)
    check("line %d" % n, lines.readline(), b"line %d\n" % n)


for i in range(AHEAD):
    send(i + 1)
drive([Client("screen", work)], some=200)

screen.write(b"\x03")  # ends the pipeline, not bash
screen.write(b"echo status $?\n")
show_until(b"status 130")
screen.write(b"exit 7\n")
check("exit status of bash", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
finish()
