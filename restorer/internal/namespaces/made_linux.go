//go:build amd64

package namespaces

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/cgroups"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/namespaces/net"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Made are the namespaces of a plan. They go when it is closed and no process is in them.
type Made struct {
	aside *sys.Aside // the thread that is in them; nil: there are none
	plan  *Plan
	files map[uint64]*os.File
	net   *net.Plan // of another network namespace than the restorer's, or nil

	Cgroups *cgroups.Set // that were made because they are mounted; the restore makes the others

	clocks *host.Clocks // of a time namespace that is there already; nil: there is none

	inside *sys.Aside // a thread that is in that one alone, with the files of the host
}

// Make makes what the zygote will join; wanted are the cgroups that the restore will make. What is refused is left
// out, and what the kernel refuses is among the problems of the plan.
func (p *Plan) Make(wanted []plan.CgroupDir) (m *Made, err error) {
	m = &Made{plan: p, files: map[uint64]*os.File{}, Cgroups: &cgroups.Set{}}
	p.open = m.open
	m.openJoined(p)
	if len(p.Joined()) == 0 && p.Mounts == nil {
		return m, nil
	}
	if err := m.makeCgroups(wanted); err != nil {
		return nil, several.Join(err, m.Close())
	}
	if m.aside, err = sys.NewAside(); err != nil {
		return nil, several.Join(fmt.Errorf("namespaces: %w", err), m.Close())
	}
	if err := m.aside.Do(func() error { return m.make(p) }); err != nil {
		return nil, several.Join(err, m.Close())
	}
	return m, nil
}

// make runs on the thread.
func (m *Made) make(p *Plan) error {
	for _, j := range p.Joined() {
		if p.noNet && j.Flag == uapi.CloneNewnet || p.Joins(j.Flag) && m.files[j.Flag] == nil { // refused
			continue
		}
		if err := m.enter(p, j); err != nil {
			return fmt.Errorf("namespaces: %s: %w", j.Name, err)
		}
		if m.files[j.Flag] != nil {
			continue
		}
		f, err := sys.ThreadNamespace(j.Flag)
		if err != nil {
			return fmt.Errorf("namespaces: %s: %w", j.Name, err)
		}
		m.files[j.Flag] = f
	}
	if p.UTS != nil {
		if err := sys.SetNames(p.UTS.GetNodename(), p.UTS.GetDomainname()); err != nil {
			return fmt.Errorf("namespaces: %w", err)
		}
	}
	if p.Mounts != nil {
		p.Mounts.Make()
	}
	return nil
}

// enter makes one of them, or moves the thread to one that there is.
func (m *Made) enter(p *Plan, j Joined) error {
	if f := m.files[j.Flag]; f != nil {
		return sys.Setns(f, int(j.Flag))
	}
	if j.Flag != uapi.CloneNewnet {
		return sys.Unshare(j.Flag)
	}
	m.net = p.Net
	inside, failed := p.Net.Enter()
	for _, err := range failed {
		p.Fail("network namespace", "", err)
		p.noNet = true
	}
	if !inside {
		return nil
	}
	return m.openInside()
}

// openInside starts the thread that later asks and acts in the network namespace: the other one's /proc goes.
func (m *Made) openInside() (err error) {
	f, err := sys.ThreadNamespace(uapi.CloneNewnet)
	if err != nil {
		return err
	}
	defer f.Close()
	if m.inside, err = sys.NewAside(); err != nil {
		return err
	}
	return m.inside.Do(func() error { return sys.Setns(f, uapi.CloneNewnet) })
}

// Facts has a host answer as the tasks will see it. others says that somebody may act in the namespaces before the
// tasks do, and give them links and addresses.
func (m *Made) Facts(h *host.Host, others bool) {
	m.hideCgroups(h)
	h.Joined = m.clocks
	switch {
	case m.plan.noNet:
		h.WithoutNetwork()
	case m.net != nil:
		m.net.Facts(h, func(ask func()) { _ = m.inside.Do(func() error { ask(); return nil }) })
		if others && m.net.Empty() {
			h.CanBind = func(netip.Addr, string) bool { return true }
			h.MayCome = func(string) bool { return true }
		}
	}
	if m.aside != nil && m.plan.Mounts != nil {
		m.plan.Mounts.Facts(h)
	}
}

// InNetwork does something in the network namespace of the tasks.
func (m *Made) InNetwork(do func() error) error {
	if m.net == nil {
		return do()
	}
	return m.inside.Do(do)
}

// OpenNetwork lets packets into it.
func (m *Made) OpenNetwork() {
	if m.net != nil {
		m.net.Open()
	}
}

// Keep says that tasks are in the namespaces: what belongs to them outside stays.
func (m *Made) Keep() {
	if m.net != nil {
		m.net.Keep()
	}
}

// open gives a descriptor that its receiver closes.
func (m *Made) open(flag uint64) (*os.File, error) { return sys.Duplicate(m.files[flag]) }

// Close ends the thread, and undoes what was done outside of the namespaces; again, it does nothing.
func (m *Made) Close() (err error) {
	if m.net != nil {
		err = m.net.Close()
	}
	if m.inside != nil {
		m.inside.End()
		m.inside = nil
	}
	if m.aside != nil {
		m.aside.End()
		m.aside = nil
	}
	for _, f := range m.files {
		f.Close()
	}
	if m.plan.Mounts != nil {
		m.plan.Mounts.Close()
	}
	m.files = nil
	return several.Join(err, m.Cgroups.Remove())
}
