package namespaces

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/internal/sys"
)

// Made are the namespaces of a plan. They go when it is closed and no process is in them.
type Made struct {
	aside *sys.Aside // the thread that is in them; nil: there are none
	files map[uint64]*os.File
}

// Make makes what the zygote will join.
func (p *Plan) Make() (m *Made, err error) {
	m = &Made{files: map[uint64]*os.File{}}
	p.open = m.open
	if len(p.Joined()) == 0 {
		return m, nil
	}
	if m.aside, err = sys.NewAside(); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	if err := m.aside.Do(func() error { return m.make(p) }); err != nil {
		m.Close()
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	return m, nil
}

// make runs on the thread.
func (m *Made) make(p *Plan) error {
	for _, j := range p.Joined() {
		if err := sys.Unshare(j.Flag); err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
		f, err := sys.ThreadNamespace(j.Flag)
		if err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
		m.files[j.Flag] = f
	}
	if p.UTS == nil {
		return nil
	}
	return sys.SetNames(p.UTS.GetNodename(), p.UTS.GetDomainname())
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
	m.files = nil
}
