//go:build amd64

package namespaces

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer/internal/cgroups"
	"github.com/crpie/crpie/restorer/internal/host"
)

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
