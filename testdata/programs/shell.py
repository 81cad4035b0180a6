# SPDX-License-Identifier: Apache-2.0
# bash in a pseudo-terminal that this program holds runs a pipeline. Numbers go through its pipe while it is dumped; none may be
# lost or come twice. Afterwards keys must still reach the foreground process group, and bash must still control its jobs.
import fcntl
import os
import pty
import re
import signal
import sys
import threading
import time

# Its first process, the leader of the process group, ends at once.
PIPELINE = b"""true | { i=0; while :; do echo $i; i=$((i+1)); done; } | \
awk '$1 != NR-1 {print "gap at", NR} NR % 1000 == 0 {print "<" NR ">"; fflush()}'\n"""
BASH = ["bash", "--norc", "--noprofile"]
TIMEOUT = 30
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
    term.keys(b"fg\n")
    at = term.expect(rb"fg\r\n(.*\n)?cat\r", at)
    term.keys(b"once more\n")
    at = term.expect(rb"once more\r\nonce more\r", at)
    term.keys(b"\x03")
    at = term.expect(rb"\^C\s+bash-\S* ", at)  # until the prompt cat may still read
    term.keys(b"echo status $?; tty; exit 7\n")
    term.expect(rb"status 130\r\n%s\r" % name, at)
    _, status = os.waitpid(term.pid, 0)
    if os.waitstatus_to_exitcode(status) != 7:
        fail("bash ended with status %#x" % status)


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
shell()
print("PASS")
