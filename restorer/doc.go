// Package restorer restores a process tree from CRIU images and runs plugins inside it on the way.
//
// It has two halves. The planner (plan*.go) is pure: images, plugins and facts about this host go in, a Plan comes out
// that says every system call, or a list of everything that cannot be restored. The runner (run*_linux.go) carries a
// plan out: it starts the zygote, watches the tasks, hands them their registers, and undoes everything when something
// fails. Decoding images, validating and relocating objects never happen here.
//
//	images ─┐
//	plugins ─┼─ plan ── zygote ── tasks run their programs ── registers ── off they go
//	host ───┘                        └── any failure ── undo, report
package restorer
