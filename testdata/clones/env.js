// SPDX-License-Identifier: Apache-2.0
// Prints some variables after it was signalled.
setInterval(() => {}, 1 << 30);
process.on("SIGUSR1", () => {
	for (const name of ["HOME", "NEW", "ID"]) console.log("DREW", name, process.env[name]);
	console.log("PASS");
	process.exit(0);
});
console.log("READY", process.pid);
