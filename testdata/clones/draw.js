// SPDX-License-Identifier: Apache-2.0
// Prints what it draws from node's OpenSSL after it was signalled.
const crypto = require("crypto");
crypto.randomBytes(8);
Math.random();
setInterval(() => {}, 1 << 30);
process.on("SIGUSR1", () => {
	console.log("DREW randomBytes", crypto.randomBytes(8).toString("hex"));
	console.log("DREW Math.random", Math.random());
	console.log("PASS");
	process.exit(0);
});
console.log("READY", process.pid);
