//go:build linux

package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What others had beside a victim's cgroup when it was dumped does not come back with it.
func TestDumpsForgetOthers(t *testing.T) {
	NeedCRIU(t)
	dirs, name := CgroupDirs(os.Getpid()), CgroupName()
	Need(t, len(dirs) > 0, "cgroups")
	own := filepath.Join(dirs[0], CgroupName())
	must(t, os.Mkdir(own, 0o755))
	t.Cleanup(func() { RemoveCgroup(t, own) })
	p := Start(t, "static")
	must(t, os.WriteFile(filepath.Join(own, "cgroup.procs"), fmt.Append(nil, p.Pid), 0))
	for _, dir := range dirs {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		t.Cleanup(func() { RemoveCgroup(t, filepath.Join(dir, name)) })
	}
	im := p.Dump(t)
	for _, dir := range dirs {
		RemoveCgroup(t, filepath.Join(dir, name))
	}
	RemoveCgroup(t, own)
	p = im.RestoreCRIU(t)
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there again: %v", filepath.Join(dir, name), err)
		}
	}
	p.MustPass(t)
}
