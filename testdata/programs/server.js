// SPDX-License-Identifier: Apache-2.0
// The web server of webserver.py, in JavaScript: node server.js PORT.
'use strict';
const http = require('http');

const counts = new Map();
const server = http.createServer((request, response) => {
  const client = request.url.split('/')[1];
  const count = (counts.get(client) || 0) + 1;
  counts.set(client, count);
  response.end(String(count));
});
server.keepAliveTimeout = 0; // never
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
