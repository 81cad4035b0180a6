package mnt

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/uapi"
)

// Describe tells what is mounted where, in order, a line for each step.
func (p *Plan) Describe() []string {
	var lines []string
	for _, m := range p.mounts {
		line := fmt.Sprintf("mount %s: %s%s", m.point(), m.what(), m.how())
		if m.attachedLate {
			line += ", by the first process"
		}
		lines = append(lines, escape.Name(line))
	}
	for _, s := range p.shares {
		lines = append(lines, escape.Name(s.describe()))
	}
	return lines
}

// what words where a mount comes from, for plans and messages.
func (m *mount) what() string {
	switch m.kind {
	case external:
		if m.cgroup != "" {
			return fmt.Sprintf("cgroup %s of the host", m.cgroup)
		}
		return fmt.Sprintf("%s of the host", m.path)
	case bind:
		if m.sub == "" {
			return fmt.Sprintf("the same as %s", m.base.point())
		}
		return fmt.Sprintf("%s of %s", m.sub, m.base.point())
	}
	what := "a new " + m.fs.name
	if options := strings.Join(append(m.fs.flags, m.fs.options...), ","); options != "" {
		what += " (" + options + ")"
	}
	if m.tar != "" {
		what += " with the contents of " + m.tar
	}
	return what
}

// attributeNames are those of mount(8).
var attributeNames = []struct {
	bit  uint32
	name string
}{
	{uapi.MsRdonly, "read-only"}, {uapi.MsNosuid, "nosuid"}, {uapi.MsNodev, "nodev"}, {uapi.MsNoexec, "noexec"}, {uapi.MsNoatime, "noatime"},
	{uapi.MsNodiratime, "nodiratime"},
}

// how words attributes and propagation, in the words of mount(8).
func (m *mount) how() (words string) {
	for _, a := range attributeNames {
		if m.img.GetFlags()&a.bit != 0 {
			words += ", " + a.name
		}
	}
	if m.img.GetDeleted() {
		words += ", deleted"
	}
	switch m.peer {
	case follower:
		words += ", a slave of the host's"
	case equal:
		words += ", a peer of the host's"
	}
	return words
}

// describe words how a mount gets its peers and masters.
func (s *share) describe() string {
	words := []string{}
	if s.from != nil {
		words = append(words, "in the groups of "+s.from.point())
	}
	for _, w := range []struct {
		on   bool
		word string
	}{{s.slave, "slave"}, {s.shared, "shared"}, {s.unbindable, "unbindable"}} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return fmt.Sprintf("mount %s: %s", s.to.point(), strings.Join(words, ", then "))
}
