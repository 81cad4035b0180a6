//go:build amd64

package namespaces

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
)

// openJoined opens the namespaces that the tasks enter as they are.
func (m *Made) openJoined(p *Plan) {
	for _, flag := range slices.Sorted(maps.Keys(p.joins)) {
		f, err := openNamespace(p.joins[flag], flag)
		if err == nil {
			m.files[flag] = f
		}
		if err == nil && flag == uapi.CloneNewtime {
			m.clocks, err = clocksOf(f)
		}
		if err != nil {
			p.Fail("join "+p.joins[flag], "", err)
		}
	}
}

func openNamespace(path string, flag uint64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if kind, err := sys.NamespaceKind(f); err != nil || kind != flag {
		f.Close()
		return nil, errors.New("it is no namespace of this kind")
	}
	return f, nil
}

// clocksOf asks a process how far the clocks of its time namespace are ahead: no thread of this one can go there.
func clocksOf(f *os.File) (*host.Clocks, error) {
	its, err := f.Stat()
	if err != nil {
		return nil, err
	}
	all, _ := filepath.Glob("/proc/[0-9]*/ns/time_for_children") // of which timens_offsets tells, time_namespaces(7)
	for _, name := range all {
		if info, err := os.Stat(name); err != nil || !os.SameFile(its, info) {
			continue
		}
		clocks, err := host.ReadClocks(filepath.Join(filepath.Dir(filepath.Dir(name)), "timens_offsets"))
		if err == nil { // otherwise it has ended
			return clocks, nil
		}
	}
	return nil, errors.New("no process is in this time namespace, so that its clocks are not known")
}
