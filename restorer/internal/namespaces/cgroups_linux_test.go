//go:build amd64

package namespaces

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer/internal/cgroups"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A cgroup that another restore has finished since the plan was made is not one that was made here.
func TestFinishedMeanwhile(t *testing.T) {
	dir := t.TempDir() // mkdir answers as for a cgroup
	m := &Made{Cgroups: &cgroups.Set{}, plan: &Plan{}}
	err := m.makeMounted([]plan.CgroupDir{{Path: dir, Make: true}}, []string{dir})
	if err != nil || m.Cgroups.Has(dir) {
		t.Errorf("%v; it was made: %v", err, m.Cgroups.Has(dir))
	}
	missing := filepath.Join(dir, "missing", "below")
	err = m.makeMounted([]plan.CgroupDir{{Path: missing, Make: true}}, []string{missing})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want %v", err, os.ErrNotExist)
	}
}

// The planner is told that what was made before the mounts is not there, also where nothing can be marked.
func TestMadeCgroupsAreHidden(t *testing.T) {
	testenv.NeedRoot(t)
	all := testenv.CgroupDirs(os.Getpid())
	testenv.Need(t, len(all) > 0, "cgroups")
	dir := filepath.Join(all[0], testenv.CgroupName())
	t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
	m := &Made{Cgroups: &cgroups.Set{}, plan: &Plan{}}
	if err := m.Cgroups.Make(dir); err != nil {
		t.Fatal(err)
	}
	sys.MarkFinished(dir)
	h := &host.Host{CgroupExists: func(path string) bool { _, err := os.Stat(path); return err == nil }}
	m.Facts(h, false)
	if h.CgroupExists(dir) || !h.CgroupExists(all[0]) {
		t.Errorf("%s is there: %v, %s: %v", dir, h.CgroupExists(dir), all[0], h.CgroupExists(all[0]))
	}
	m.Cgroups.Keep()
}
