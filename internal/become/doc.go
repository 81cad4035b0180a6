// Package become lets the process that was started as crpie become the root task, when it has the pid that the task
// needs.
//
// That process, the first one, starts crpie again as the controller: with the same arguments, by way of a process
// that ends at once, so that no caller waits for the controller. The controller plans and restores as always, but
// where it would execute the zygote it sends the first process everything that a zygote is executed with, traces the
// thread that will call execve(2), and tells it to. Who ended that thread's process, and how, its parent learns from
// the kernel.
//
//	first process                     controller
//	Start, Follow          ◄─ room, descriptors, "prepare"
//	signals it gets ─►
//	"ready", thread ─►                traces it
//	executes the zygote    ◄─ "execute"
//	                       ◄─ or "end", exit status
package become
