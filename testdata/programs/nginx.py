# SPDX-License-Identifier: Apache-2.0
"""nginx with a master and two workers under other ids, and clients that keep their connections alive. Its log has each request
once."""
import os
import shutil
import signal

from load import check, connect, drive, ended, finish, free_port, http_client, start, until

CONFIG = """
daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
    log_format request '$request_uri';
    access_log access.log request;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    limit_req_zone $binary_remote_addr zone=everybody:1m rate=1000000r/s;
    server {
        listen 127.0.0.1:%d;
        listen unix:%s/nginx.sock;
        limit_req zone=everybody burst=1000000 nodelay;
        location / { return 200 $request_uri; }
        location /behind/ { proxy_pass http://unix:%s/nginx.sock:/through/; }
    }
}
"""
here, port = os.getcwd(), free_port()
os.chmod("../..", 0o711)  # the workers' way to the socket
with open("nginx.conf", "w") as f:
    f.write(CONFIG % (port, here, here))
server = start(shutil.which("nginx", path="/usr/sbin:/sbin:" + os.defpath), "-p", here, "-c", "nginx.conf", "-e", "error.log")
until("nginx's port", lambda: connect(("127.0.0.1", port)))


def same(path):
    def answer(name, n, body):
        check("answer to " + name, body, (path % (name, n)).encode())
    return answer


clients = [http_client("c%d" % i, port, "/%s/%d", same("/%s/%d")) for i in range(3)]
clients.append(http_client("proxied", port, "/behind/%s/%d", same("/through/%s/%d")))
drive(clients)
for c in clients:
    c.connection.close()
ended(server, signal.SIGQUIT)

with open("access.log") as f:
    requests = f.read().split()
for c in clients[:-1]:
    check("requests of %s in the log" % c.name, [r for r in requests if r.startswith("/%s/" % c.name)],
          ["/%s/%d" % (c.name, n + 1) for n in range(c.done)])
for way in "/behind/proxied/", "/through/proxied/":
    # a worker writes its line when the other one may have had the next request already
    numbers = sorted(int(r[len(way):]) for r in requests if r.startswith(way))
    check("requests %s in the log" % way, [way + str(n) for n in numbers],
          [way + str(n + 1) for n in range(clients[-1].done)])
finish()
