# SPDX-License-Identifier: Apache-2.0
# Programs in a pseudo-terminal that this program holds.
#
# terminals.py shell: bash runs a pipeline. Numbers go through its pipe while it is dumped; none may be lost or come twice.
# Afterwards keys must still reach the foreground process group, and bash must still control its jobs.
#
# terminals.py panes: a client of tmux, with the server and two panes. Afterwards keys and what they make bash print must find
# their way through both terminals of each pane.
import ctypes
import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

# Its first process, the leader of the process group, ends at once.
PIPELINE = b"""true | { i=0; while :; do echo $i; i=$((i+1)); done; } | \
awk '$1 != NR-1 {print "gap at", NR} NR % 1000 == 0 {print "<" NR ">"; fflush()}'\n"""
BASH = ["bash", "--norc", "--noprofile"]
PROMPT = rb"bash-[0-9.]+[$#] "
TIMEOUT = 30
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
TIOCGPTN = 0x80045430  # ioctl_tty(2)


class Terminal:
    """The master and everything that was ever read from it."""

    def __init__(self, argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        self.text = b""
        self.more = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            with self.more:
                self.text += data
                self.more.notify_all()
            if not data:
                return

    def name(self):
        number = bytearray(4)
        fcntl.ioctl(self.fd, TIOCGPTN, number)
        return b"/dev/pts/%d" % int.from_bytes(number, sys.byteorder)

    def keys(self, keys):
        os.write(self.fd, keys)

    def expect(self, pattern, since=0):
        """Waits for text after a position and gives the position behind it."""
        end = time.monotonic() + TIMEOUT
        with self.more:
            while True:
                found = re.compile(pattern).search(self.text, since)
                if found:
                    return found.end()
                if not self.more.wait(end - time.monotonic()):
                    fail("no %r in %r" % (pattern, self.text[since:][-300:]))


def fail(why):
    print("DIFFERS", why)
    sys.stdout.flush()
    os._exit(1)


def wait():
    print("READY", os.getpid())
    sys.stdout.flush()
    signal.sigwait([signal.SIGUSR1])


def shell():
    os.environ["TERM"] = "dumb"
    term = Terminal(BASH + ["-i"])
    term.keys(PIPELINE)
    term.expect(rb"\n<1000>")
    name = term.name()
    wait()

    last = int(re.findall(rb"<(\d+)>", term.text)[-1])
    at = term.expect(rb"<%d>" % (last + 3000))
    term.keys(b"\x03")  # ^C
    at = term.expect(rb"\^C", at)
    numbers = [int(n) for n in re.findall(rb"<(\d+)>", term.text)]
    if numbers != list(range(1000, 1000 * len(numbers) + 1, 1000)) or b"gap" in term.text[term.text.index(b"<"):]:
        fail("numbers were lost or came twice: %r" % term.text[-300:])
    term.keys(b"echo status $?\n")
    at = term.expect(rb"status 130\r", at)
    term.keys(b"echo star''ted; cat\n")
    at = term.expect(rb"started\r", at)
    term.keys(b"again\n")
    at = term.expect(rb"again\r\nagain\r", at)  # the terminal's echo, and cat's
    term.keys(b"\x1a")  # ^Z
    at = term.expect(rb"Stopped", at)
    term.keys(b"kill %1; fg; tty; exit 7\n")
    term.expect(rb"Terminated.*\n(.*\n)?%s\r" % name, at)
    _, status = os.waitpid(term.pid, 0)
    if os.waitstatus_to_exitcode(status) != 7:
        fail("bash ended with status %#x" % status)


def tmux(*args):
    return subprocess.run(["tmux", *args], check=True, stdout=subprocess.PIPE).stdout


def panes():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # the server makes itself an orphan
    os.environ.update(TMUX_TMPDIR=os.getcwd(), TERM="screen")
    term = Terminal(["tmux", "-f", "/dev/null", "new-session", "-x", "80", "-y", "24", *BASH])
    term.expect(PROMPT)
    tmux("split-window", "-h", *BASH)
    term.expect(PROMPT + b".*" + PROMPT)
    term.keys(b"echo before$((6*7))\n")
    term.expect(rb"before42")
    before = tmux("list-panes", "-F", "#{pane_id} #{pane_pid} #{pane_tty}")
    wait()

    if tmux("list-panes", "-F", "#{pane_id} #{pane_pid} #{pane_tty}") != before:
        fail("the panes have changed")
    for number, pane in enumerate(before.split(b"\n")[:2]):
        tmux("select-pane", "-t", ":.%d" % number)
        term.keys(b"echo pane$((6*7)) $(tty)\n")
        term.expect(rb"pane42 " + pane.split()[2])
    tmux("detach-client")
    term.expect(rb"detached")
    os.waitpid(term.pid, 0)
    tmux("kill-server")
    try:
        while True:  # the server, and the shells, which are orphans now
            os.wait()
    except ChildProcessError:
        pass


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
{"shell": shell, "panes": panes}[sys.argv[1]]()
print("PASS")
