// SPDX-License-Identifier: Apache-2.0
// Prints what it draws from node's OpenSSL, and from what node holds ready, after SIGUSR1. SIGUSR2 has it empty that.
const crypto = require("crypto");
function drain() {
	for (let i = 0; i < 128; i++) crypto.randomUUID();
	for (let i = 0; i < 1024; i++) crypto.randomInt(1 << 30);
}
crypto.randomBytes(8);
crypto.randomUUID();
crypto.randomInt(1 << 30);
Math.random();
setInterval(() => {}, 1 << 30);
process.on("SIGUSR2", drain);
process.on("SIGUSR1", () => {
	console.log("DREW randomBytes", crypto.randomBytes(8).toString("hex"));
	console.log("DREW randomUUID", crypto.randomUUID());
	console.log("DREW randomInt", crypto.randomInt(1 << 30), crypto.randomInt(1 << 30));
	console.log("DREW Math.random", Math.random());
	console.log("PASS");
	process.exit(0);
});
console.log("READY", process.pid);
