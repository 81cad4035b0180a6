package job

import (
	"github.com/crpie/crpie/images"
)

// TableOwner is the ancestor that restores the descriptors, or the task itself.
func TableOwner(t *images.Task) *images.Task {
	for SharesFiles(t, t.Parent) {
		t = t.Parent
	}
	return t
}

// numbers hands out descriptor numbers that no task uses.
type numbers struct {
	taken map[int]bool
	next  int
}

const firstScratch = 64

// NewNumbers leaves out the numbers that some task's descriptors have.
func NewNumbers(dir *images.Dir) *numbers {
	n := &numbers{taken: map[int]bool{}, next: firstScratch}
	for _, t := range dir.Tasks {
		if SharesFiles(t, t.Parent) {
			n.next += 4 // while they open files at the same time, before those have their numbers
		}
	}
	for _, t := range dir.Tasks {
		for _, fd := range t.Fds {
			n.taken[int(fd.GetFd())] = true
		}
	}
	return n
}

// Highest is the largest number in use.
func (n *numbers) Highest() int {
	highest := n.next
	for fd := range n.taken {
		highest = max(highest, fd)
	}
	return highest
}

// Scratch returns a number that no descriptor of a task has.
func (n *numbers) Scratch() int {
	for n.taken[n.next] {
		n.next++
	}
	n.next++
	return n.next - 1
}

// SharesFiles reports whether two tasks have one descriptor table.
func SharesFiles(t, other *images.Task) bool {
	return other != nil && t.Ids != nil && other.Ids != nil && t.Ids.GetFilesId() == other.Ids.GetFilesId()
}
