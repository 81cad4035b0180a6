# SPDX-License-Identifier: Apache-2.0
"""redis-server without clients of its own: others, who are not dumped with it, connect to its port."""
from load import connect, drive, ended, finish, free_port, start, until

port = free_port()
server = start("redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--logfile", "redis.log")
until("redis's port", lambda: connect(("127.0.0.1", port)))
print("PORT", port)
drive([])
ended(server)
finish()
