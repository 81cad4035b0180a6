# SPDX-License-Identifier: Apache-2.0
"""tmux with a session of two panes and a client attached to it. What is typed goes from the client's terminal to both panes;
the program in each writes down what it reads, and shows it."""
import ctypes
import os
import pty
import signal
import subprocess
import threading

from load import Client, check, drive, finish, until

PANE = "while read -r n; do echo $n >>%s.txt; echo pane %s has read $n; done"
PANES = "left", "right"
PR_SET_CHILD_SUBREAPER = 36  # the server is a daemon, and ours all the same
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tmux(*args):
    words = ["tmux", "-S", "tmux.sock", "-f", "/dev/null", *args]
    return subprocess.run(words, stdin=subprocess.DEVNULL, check=True, capture_output=True, text=True,
                          preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, [])).stdout


def read_screen():
    """Nobody looks at it."""
    try:
        while os.read(keyboard, 65536):
            pass
    except OSError:  # EIO: the client is gone
        pass


def read_by(pane):
    with open(pane + ".txt") as f:
        return f.read().split()


def typed(n):
    """One number at a time: CRIU cannot dump connections that are being made, so there is no tmux send-keys."""
    os.write(keyboard, b"%d\r" % n)
    until("number %d in both panes" % n, lambda: all(read_by(p)[-1:] == [str(n)] for p in PANES))


for p in PANES:
    open(p + ".txt", "w").close()
tmux("new-session", "-d", "-s", "main", "-x", "80", "-y", "24", PANE % ("left", "left"))
tmux("split-window", "-h", "-t", "main", PANE % ("right", "right"))
tmux("set-option", "-w", "-t", "main", "synchronize-panes", "on")
server = int(tmux("display-message", "-p", "-t", "main", "#{pid}"))
client, keyboard = pty.fork()
if client == 0:
    os.environ["TERM"] = "xterm"
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp("tmux", ["tmux", "-S", "tmux.sock", "attach"])
reader = threading.Thread(target=read_screen)
reader.start()
until("the attached client", lambda: tmux("list-clients").count("\n") == 1)
keys = Client("keys", typed)
drive([keys], some=20)

for i, p in enumerate(PANES):
    check("read by pane " + p, read_by(p), [str(n + 1) for n in range(keys.done)])
    until("pane %s to show it" % p, lambda: "pane %s has read %d" % (p, keys.done) in tmux("capture-pane", "-p", "-J", "-t", "main.%d" % i))
check("clients", tmux("list-clients").count("\n"), 1)
tmux("kill-session", "-t", "main")  # its last one
check("exit status of the client", os.waitstatus_to_exitcode(os.waitpid(client, 0)[1]), 0)
check("exit status of the server", os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]), 0)
reader.join()
try:
    while os.wait():  # what ran in the panes
        pass
except ChildProcessError:
    pass
finish()
