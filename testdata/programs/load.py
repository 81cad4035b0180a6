# SPDX-License-Identifier: Apache-2.0
"""What the programs' drivers have in common. A driver starts a server, lets clients work on it without a pause, says READY
in the middle of that, and after SIGUSR1 sees to it that every client gets on, ends them, and counts."""
import atexit
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

PATIENCE = 45  # seconds that anything may take on a loaded machine; the test waits a little longer
SOME = 25  # operations that each client does before READY, and again after SIGUSR1

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # threads inherit that
servers = []
failures = 0


def differs(text):
    global failures
    failures += 1
    print("DIFFERS", text, flush=True)


def check(what, got, want):
    if got != want:
        differs("%s: %r, want %r" % (what, got, want))


def start(*argv, **options):
    """Starts a program with the signal mask of a shell's children; ended() waits for it."""
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=False,
                              preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, []), **options)
    servers.append(server)
    return server


def until(what, condition):
    """Asks until the condition holds: a server's own start cannot be waited for otherwise."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            value = condition()
            if value:
                return value
        except OSError:
            pass
        for server in servers:
            if server.poll() is not None:
                give_up("%s: %s ended with status %d" % (what, server.args[0], server.returncode))
        if time.monotonic() > end:
            give_up("%s: not within %d s" % (what, PATIENCE))
        time.sleep(0.01)


def give_up(text):
    print("NOT READY", text, flush=True)
    end_servers()
    os._exit(2)


@atexit.register
def end_servers():
    """Whatever goes wrong, no server is left."""
    for server in servers:
        server.kill()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def connect(address):
    """A connection to (host, port) or a path. When it is closed no TIME_WAIT stays behind: the images can be restored again."""
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX)
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.settimeout(None)
    s.connect(address)
    return s


class Client(threading.Thread):
    """Calls work(1), work(2), and so on, each when the one before has returned. done: how many have."""

    def __init__(self, name, work):
        super().__init__(name=name, daemon=True)
        self.work, self.done, self.failure = work, 0, None
        self.more, self.stop = threading.Condition(), False

    def run(self):
        try:
            while not self.stop:
                self.work(self.done + 1)
                with self.more:
                    self.done += 1
                    self.more.notify_all()
        except Exception as e:  # of whatever kind: the driver reports it
            with self.more:
                self.failure = e
                self.more.notify_all()

    def get_on(self, count):
        """Waits until count more operations are done."""
        with self.more:
            goal = self.done + count
            if not self.more.wait_for(lambda: self.failure or self.done >= goal, PATIENCE):
                differs("%s: no answer to operation %d" % (self.name, self.done + 1))
            return self.failure is None


def drive(clients, some=SOME):
    """Lets the clients work, through dump and restore, and ends them."""
    for c in clients:
        c.start()
    for c in clients:
        if not c.get_on(some):
            give_up("%s: operation %d: %r" % (c.name, c.done + 1, c.failure))
    print("READY", os.getpid(), flush=True)
    signal.sigwait([signal.SIGUSR1])
    for c in clients:
        c.get_on(some)
        c.stop = True
    for c in clients:
        c.join(PATIENCE)
        if c.failure:
            differs("%s: operation %d: %r" % (c.name, c.done + 1, c.failure))


def http_client(name, port, path, check_answer):
    """A client of a web server on one connection that is kept alive: GET path % (name, n)."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.sock = connect(("127.0.0.1", port))
    connection.auto_open = False  # a connection that breaks is an error

    def work(n):
        connection.request("GET", path % (name, n))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError("status %d" % answer.status)
        check_answer(name, n, body)
    client = Client(name, work)
    client.connection = connection
    return client


def ended(server, how=signal.SIGTERM, want=0):
    """Ends a server in its own orderly way."""
    server.send_signal(how)
    try:
        check("exit status of %s" % server.args[0], server.wait(PATIENCE), want)
    except subprocess.TimeoutExpired:
        differs("%s does not end" % server.args[0])
        server.kill()


def finish():
    if not failures:
        print("PASS")
    sys.exit(1 if failures else 0)
