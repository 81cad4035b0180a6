package namespaces

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
)

// Made are the namespaces of a plan. They go when it is closed and no process is in them.
type Made struct {
	aside *sys.Aside // the thread that is in them; nil: there are none
	plan  *Plan
	files map[uint64]*os.File
}

// Make makes what the zygote will join.
func (p *Plan) Make() (m *Made, err error) {
	m = &Made{plan: p, files: map[uint64]*os.File{}}
	p.open = m.open
	if len(p.Joined()) == 0 && p.Mounts == nil || p.Len() > 0 { // the planner says what is refused
		return m, nil
	}
	if m.aside, err = sys.NewAside(); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	if err := m.aside.Do(func() error { return m.make(p) }); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// make runs on the thread.
func (m *Made) make(p *Plan) error {
	for _, j := range p.Joined() {
		if err := sys.Unshare(j.Flag); err != nil {
			return fmt.Errorf("namespaces: %s: %w", j.Name, err)
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
	if p.Mounts == nil {
		return nil
	}
	return p.Mounts.Make()
}

// Facts has a host answer as the tasks will see it.
func (m *Made) Facts(h *host.Host) {
	if m.aside != nil && m.plan.Mounts != nil {
		m.plan.Mounts.Facts(h)
	}
}

// open gives a descriptor that its receiver closes.
func (m *Made) open(flag uint64) (*os.File, error) { return sys.Duplicate(m.files[flag]) }

// Close ends the thread; again, it does nothing.
func (m *Made) Close() {
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
}
