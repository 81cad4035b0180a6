// Package seccomp says what seccomp filters answer to a system call, as seccomp(2) and kernel/seccomp.c define it.
//
// A filter is a program of classic BPF that looks at struct seccomp_data. The number of the call is known beforehand,
// but only some of its arguments are: so the package does not run a program, it follows all ways that the unknown words
// leave open, and gives every answer that can come out.
//
// It makes no system call and works on every system. The machine is x86-64.
package seccomp
