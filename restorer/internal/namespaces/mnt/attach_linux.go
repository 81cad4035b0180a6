package mnt

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// openTargets opens the mount points of every mount while nothing is mounted there: later a path could go through a
// mount that covers it.
func (b *builder) openTargets() {
	for _, m := range b.p.mounts {
		if m.handle == nil { // a part of what has failed, or is made later and covered by nothing
			continue
		}
		m.handle.targets = map[*mount]*os.File{}
		for _, child := range m.children {
			target, err := openPart(m.handle.mount, child.at)
			if err != nil {
				child.refuseTarget(err)
				continue
			}
			m.handle.targets[child] = target
			child.compareKinds(target)
		}
	}
}

// refuseTarget says why a mount has no place to go. A symbolic link in the path is not followed: mountinfo has no
// links, so the tree is not the one that was dumped.
func (m *mount) refuseTarget(err error) {
	m.missing = true
	switch in := m.parent.where(); {
	case errors.Is(err, unix.ENOENT):
		m.refuse("make it, as it was", "its mount point is missing in %s", in)
	case errors.Is(err, unix.ELOOP):
		m.refuse("make it a directory, as it was", "the path of its mount point has a symbolic link in %s", in)
	default:
		m.fail("", fmt.Errorf("its mount point in %s: %w", in, sys.WithoutPath(err)))
	}
}

// compareKinds: a directory is mounted on a directory, anything else on anything else.
func (m *mount) compareKinds(target *os.File) {
	if m.handle == nil {
		return
	}
	is, err := isDirectory(m.handle.mount)
	want, err2 := isDirectory(target)
	switch {
	case err != nil || err2 != nil:
		m.fail("", errors.Join(err, err2))
	case is != want:
		kinds := map[bool]string{true: "a directory", false: "not a directory"}
		m.missing = true
		m.refuse("", "it is %s, its mount point in %s is %s", kinds[is], m.parent.where(), kinds[want])
	}
}

// setAttributes comes when file systems are filled and nothing more is made in them.
func (b *builder) setAttributes() {
	for _, m := range b.p.mounts {
		if m.handle == nil || m.madeLate {
			continue
		}
		err := error(nil)
		if m.readOnlyWhenFull() {
			err = makeReadOnly(m.handle.mount)
		}
		if err == nil {
			set, clear := m.attributes()
			err = sys.SetMount(m.handle.mount, set, clear, 0, false)
		}
		m.try(err)
	}
}

// makeReadOnly makes a superblock read-only in the end; until then mount points and contents have to be made in it.
func makeReadOnly(file *os.File) error {
	context, err := sys.PickFS(file)
	if err != nil {
		return err
	}
	defer context.Close()
	if err := context.SetFlag("ro"); err != nil {
		return err
	}
	return context.Reconfigure()
}

// attach puts the tree together, but for what the first process attaches.
func (b *builder) attach() {
	root := b.p.root()
	if b.stuck = root.missing; b.stuck {
		return
	}
	root.try(b.park(root))
	for _, m := range b.p.mounts[1:] {
		if !m.attachedLate && m.seen() {
			m.try(sys.AttachMount(m.handle.mount, m.parent.handle.targets[m]))
		}
	}
}

// late reports whether something is left for the first process.
func (p *Plan) late() bool {
	for _, m := range p.mounts {
		if m.attachedLate {
			return true
		}
	}
	return false
}

// share makes the groups when everything is in its place.
func (b *builder) share() {
	if b.p.late() {
		return
	}
	for _, s := range b.p.shares {
		if !s.to.seen() || !s.from.seen() {
			continue
		}
		err := error(nil)
		if s.from != nil {
			err = sys.CopySharing(s.from.handle.mount, s.to.handle.mount)
		}
		for _, propagation := range s.propagations() {
			if err == nil {
				err = sys.SetMount(s.to.handle.mount, 0, 0, propagation, false)
			}
		}
		s.to.try(err)
	}
}

func (b *builder) enterRoot() {
	if b.stuck = !b.p.root().seen(); !b.stuck {
		b.need("mount namespace", sys.EnterRoot(b.p.root().handle.mount))
	}
	b.p.root().missing = b.stuck
}

// maxTerminals is the default of kernel.pty.max, pty(7).
const maxTerminals = 4096

// holdOrphans makes the terminals whose other end somebody else gets. Those of a devpts that is not the tree's own
// cannot be made with a certain index: the planner treats them as in a restore for which nobody waits.
func (b *builder) holdOrphans() {
	for _, name := range b.p.opts.Orphans {
		devpts, sub := b.p.terminal(name)
		if devpts == nil || !devpts.seen() {
			continue
		}
		if err := b.holdTerminal(devpts, sub); err != nil {
			b.p.whole.Fail("terminal "+name, "", err)
		}
	}
}

// holdTerminal makes a terminal with an index, so that its file can be bound: it goes when nobody has it open.
func (b *builder) holdTerminal(devpts *mount, sub string) error {
	want, err := strconv.ParseUint(sub, 10, 31)
	switch {
	case err != nil || b.p.made.ptys[pty{devpts, int(want)}] != nil:
		return nil
	case want >= maxTerminals:
		return fmt.Errorf("terminal %d: the kernel has at most %d, kernel.pty.max of pty(7)", want, maxTerminals)
	}
	master, err := terminalWithIndex(devpts.handle.mount, int(want))
	if err != nil {
		return err
	}
	if b.p.made.ptys == nil {
		b.p.made.ptys, b.p.made.duplicate = map[pty]*os.File{}, sys.Duplicate
	}
	b.p.made.ptys[pty{devpts, int(want)}] = master
	return nil
}

// terminalWithIndex makes terminals until one has the index: the kernel gives the lowest that is free.
func terminalWithIndex(devpts *os.File, want int) (*os.File, error) {
	var others []*os.File
	defer func() {
		for _, f := range others {
			f.Close()
		}
	}()
	for {
		master, index, err := newTerminal(devpts)
		if err != nil {
			return nil, err
		}
		if index == want {
			return master, nil
		}
		others = append(others, master)
		if index > want {
			return nil, fmt.Errorf("terminal %d is taken already", want)
		}
	}
}

// newTerminal opens a master and unlocks its other end, pts(4).
func newTerminal(devpts *os.File) (master *os.File, index int, err error) {
	master, err = sys.OpenIn(devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, inside)
	if err != nil {
		return nil, 0, err
	}
	index, err = unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.SetNonblock(int(master.Fd()), false) // others get it as well
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		master.Close()
		return nil, 0, fmt.Errorf("ptmx: %w", err)
	}
	return master, index, nil
}
