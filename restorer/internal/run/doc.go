// Package run carries a plan out: it starts the zygote, watches and traces the tasks, judges what hooks return, hands
// out the registers, and undoes everything when something fails. One locked OS thread owns ptrace. It decides nothing
// that the plan could have decided.
package run
