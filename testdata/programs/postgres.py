# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL, and clients on TCP and unix sockets whose numbered transactions each change several rows. What was committed is
there once, what was rolled back is not. usage: postgres.py BINDIR"""
import os
import pwd
import signal
import struct
import subprocess
import sys

from load import Client, check, connect, drive, ended, finish, free_port, start, until

programs, here, port = sys.argv[1], os.getcwd(), free_port()
owner = pwd.getpwnam("postgres")  # initdb and postgres do not run as root
os.chmod("../..", 0o711)
os.mkdir("db", 0o700)
os.chown("db", owner.pw_uid, owner.pw_gid)
os.chown(".", owner.pw_uid, owner.pw_gid)
as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
initdb = "-D", "db", "-U", "postgres", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8", "--wal-segsize=1"
subprocess.run([programs + "/initdb", *initdb],
               check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **as_owner)
settings = {"unix_socket_directories": here, "port": port, "listen_addresses": "127.0.0.1", "shared_buffers": "2MB", "fsync": "off",
            "max_connections": 20, "dynamic_shared_memory_type": "mmap", "autovacuum_naptime": "1s", "log_destination": "stderr"}
server = start(programs + "/postgres", "-D", "db", *["--%s=%s" % s for s in settings.items()], stdout=open("log", "w"),
               stderr=subprocess.STDOUT, **as_owner)


class Database:
    """A connection that speaks protocol 3.0: PostgreSQL's documentation, "Frontend/Backend Protocol"."""

    def __init__(self, address):
        self.socket = connect(address)
        self.answers = self.socket.makefile("rb")
        words = b"user\0postgres\0database\0postgres\0\0"
        self.socket.sendall(struct.pack("!ii", 8 + len(words), 3 << 16) + words)
        self.results()

    def results(self):
        """Reads up to ReadyForQuery. Gives the rows, and how each command ended."""
        rows, commands = [], []
        while True:
            kind, size = struct.unpack("!ci", self.answers.read(5))
            body = self.answers.read(size - 4)
            if kind == b"E":
                raise ValueError("PostgreSQL says %r" % body)
            if kind == b"D":
                row, at = [], 2
                for _ in range(struct.unpack("!h", body[:2])[0]):
                    length, = struct.unpack("!i", body[at:at + 4])
                    row.append(body[at + 4:at + 4 + length].decode())
                    at += 4 + length
                rows.append(row)
            if kind == b"C":
                commands.append(body[:-1].decode())
            if kind == b"Z":
                return rows, commands

    def ask(self, sql):
        query = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(query)) + query)
        return self.results()

    def close(self):
        self.answers.close()
        self.socket.close()


def client(name, address):
    database = Database(address)

    def work(n):
        end = "ROLLBACK" if n % 5 == 0 else "COMMIT"
        rows, commands = database.ask(
            "BEGIN; INSERT INTO work VALUES ('%s', %d); UPDATE totals SET done = done + 1, at = %d WHERE name = '%s' RETURNING done;"
            " UPDATE totals SET done = done + 1 WHERE name = 'all'; %s" % (name, n, n, name, end))
        check("transaction %d of %s" % (n, name), (rows, commands),
              ([[str(n - (n - 1) // 5)]], ["BEGIN", "INSERT 0 1", "UPDATE 1", "UPDATE 1", end]))
    c = Client(name, work)
    c.database = database
    return c


tcp, unix = ("127.0.0.1", port), "%s/.s.PGSQL.%d" % (here, port)
until("PostgreSQL", lambda: "ready to accept connections" in open("log").read())
names = {"tcp 1": tcp, "tcp 2": tcp, "unix 1": unix, "unix 2": unix}
setup = Database(unix)
setup.ask("CREATE TABLE work (name text, n int, PRIMARY KEY (name, n)); CREATE TABLE totals (name text PRIMARY KEY, done int, at int)")
setup.ask("INSERT INTO totals VALUES ('all', 0, 0), " + ", ".join("('%s', 0, 0)" % name for name in names))
clients = [client(name, address) for name, address in names.items()]
drive(clients)

for c in clients:
    committed = [n + 1 for n in range(c.done) if (n + 1) % 5]
    c.database.close()
    rows, _ = setup.ask("SELECT n FROM work WHERE name = '%s' ORDER BY n" % c.name)
    check("transactions of %s" % c.name, [int(n) for n, in rows], committed)
    rows, _ = setup.ask("SELECT done, at FROM totals WHERE name = '%s'" % c.name)
    check("total of %s" % c.name, rows, [[str(len(committed)), str(committed[-1])]])
rows, _ = setup.ask("SELECT done, (SELECT count(*) FROM work) FROM totals WHERE name = 'all'")
total = str(sum(c.done - c.done // 5 for c in clients))
check("total of all", rows, [[total, total]])
setup.close()
ended(server, signal.SIGINT)
finish()
