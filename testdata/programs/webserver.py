# SPDX-License-Identifier: Apache-2.0
"""A web server that counts the requests of each client and answers with the count, and clients that keep their connections
alive. usage: webserver.py SERVER [ARGUMENT]..., which gets the port as its last argument and ends orderly on SIGTERM."""
import sys

from load import check, connect, drive, ended, finish, free_port, http_client, start, until

port = free_port()
server = start(*sys.argv[1:], str(port))
until("the server's port", lambda: connect(("127.0.0.1", port)))


def counted(name, n, body):
    check("count of %s" % name, body, b"%d" % n)


clients = [http_client("c%d" % i, port, "/%s/%d", counted) for i in range(4)]
drive(clients)
for c in clients:
    c.connection.close()
ended(server)
finish()
