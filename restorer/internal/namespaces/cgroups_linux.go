//go:build amd64

package namespaces

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// makeCgroups makes those that the tree mounts, and those above them: of a cgroup that is missing nothing can be bound.
// They are marked as unfinished, so that the restore makes them anew in their places, with all their properties.
func (m *Made) makeCgroups(all []plan.CgroupDir) error {
	if m.plan.Mounts == nil {
		return nil
	}
	mounted := m.plan.Mounts.Cgroups()
	for _, d := range all {
		leadsTo := func(dir string) bool { return strings.HasPrefix(dir+"/", d.Path+"/") }
		if !d.Make || !slices.ContainsFunc(mounted, leadsTo) {
			continue
		}
		if err := os.Mkdir(d.Path, 0o755); err != nil && !(os.IsExist(err) && sys.LeftUnfinished(d.Path)) {
			return fmt.Errorf("namespaces: cgroup %s: %w", d.Name, err)
		}
		sys.MarkUnfinished(d.Path)
		m.cgroups = append(m.cgroups, d.Path)
	}
	return nil
}

// removeCgroups removes them, unless a restore that has failed has done so already.
func (m *Made) removeCgroups() error {
	var errs []error
	for _, dir := range slices.Backward(m.cgroups) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	m.cgroups = nil
	return several.Join(errs...)
}
