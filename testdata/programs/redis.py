# SPDX-License-Identifier: Apache-2.0
"""redis-server, and clients on TCP and unix sockets that send pipelines of commands. Redis counts, and every answer says how far."""
import os

from load import Client, check, connect, drive, finish, free_port, start, until

DEPTH = 8  # commands on the way at a time
port = free_port()
server = start("redis-server", "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", "redis.sock", "--save", "",
               "--appendonly", "no", "--io-threads", "2", "--logfile", "redis.log")


class Redis:
    def __init__(self, address):
        self.socket = connect(address)
        self.answers = self.socket.makefile("rb")

    def send(self, *commands):
        data = b""
        for words in commands:
            encoded = [str(w).encode() for w in words]
            data += b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded)
        self.socket.sendall(data)

    def answer(self):
        line = self.answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"$":
            return self.answers.read(int(rest) + 2)[:-2].decode()
        raise ValueError("answer %r" % line)

    def close(self):
        self.answers.close()
        self.socket.close()

    def ask(self, *words):
        self.send(words)
        return self.answer()


def client(name, address):
    redis = Redis(address)

    def work(n):
        numbers = range((n - 1) * DEPTH + 1, n * DEPTH + 1)
        redis.send(*[("INCR", name) for _ in numbers], *[("RPUSH", "list " + name, i) for i in numbers], ("INCR", "all"))
        check("answers to INCR", [redis.answer() for _ in numbers], list(numbers))
        check("answers to RPUSH", [redis.answer() for _ in numbers], list(numbers))
        redis.answer()
    c = Client(name, work)
    c.connections = [redis]
    return c


def subscriber(address):
    """Publishes on one connection what it receives on another."""
    listener, speaker = Redis(address), Redis(address)
    listener.ask("SUBSCRIBE", "news")

    def work(n):
        check("receivers", speaker.ask("PUBLISH", "news", n), 1)
        check("message", listener.answer(), ["message", "news", str(n)])
    c = Client("subscriber", work)
    c.connections = [listener, speaker]
    return c


until("an answer of redis", lambda: Redis(("127.0.0.1", port)).ask("PING") == "PONG")
tcp, unix = ("127.0.0.1", port), os.path.join(os.getcwd(), "redis.sock")
clients = [client("tcp %d" % i, tcp) for i in range(3)] + [client("unix", unix)]
others = [subscriber(tcp)]
drive(clients + others)

redis = Redis(tcp)
for c in clients + others:  # before the server does: whoever closes first remembers the connection, in TIME_WAIT
    for connection in c.connections:
        connection.close()
for c in clients:
    check("counter " + c.name, redis.ask("GET", c.name), str(c.done * DEPTH))
    check("list " + c.name, redis.ask("LRANGE", "list " + c.name, 0, -1), [str(i + 1) for i in range(c.done * DEPTH)])
check("counter of all", redis.ask("GET", "all"), str(sum(c.done for c in clients)))
redis.send(("SHUTDOWN", "NOSAVE"))
check("exit status of redis", server.wait(), 0)
finish()
