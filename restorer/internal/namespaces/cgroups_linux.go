//go:build amd64

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// makeCgroups makes those that the tree mounts, and those above them: of a cgroup that is missing nothing can be bound.
func (m *Made) makeCgroups(all []plan.CgroupDir) error {
	if m.plan.Mounts == nil {
		return nil
	}
	return m.makeMounted(all, m.plan.Mounts.Cgroups())
}

func (m *Made) makeMounted(all []plan.CgroupDir, mounted []string) error {
	for _, d := range all {
		leadsTo := func(dir string) bool { return strings.HasPrefix(dir+"/", d.Path+"/") }
		if !d.Make || !slices.ContainsFunc(mounted, leadsTo) {
			continue
		}
		// one that is there has been finished by another restore meanwhile: the planner finds it
		if err := m.Cgroups.Make(d.Path); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("namespaces: cgroup %s: %w", d.Name, err)
		}
	}
	return nil
}

// hideCgroups has a host not know of those that were made: the restore itself gives them their properties.
func (m *Made) hideCgroups(h *host.Host) {
	exists := h.CgroupExists
	h.CgroupExists = func(path string) bool { return !m.Cgroups.Has(path) && exists(path) }
}
