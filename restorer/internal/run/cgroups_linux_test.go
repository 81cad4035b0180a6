//go:build amd64

package run

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/restorer/internal/cgroups"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A cgroup that another restore has finished since the plan was made is one that was there: it stays as it is, gets the
// properties until the restore fails, or is refused.
func TestFoundCgroup(t *testing.T) {
	for name, tc := range map[string]struct {
		found plan.CgroupFound
		err   error
		value string
	}{
		"left": {plan.CgroupLeft, nil, "old"}, "set": {plan.CgroupSet, nil, "new"},
		"refused": {plan.CgroupRefused, os.ErrExist, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() // mkdir answers as for a cgroup
			file := filepath.Join(dir, "property")
			want := func(value string) {
				t.Helper()
				if b, err := os.ReadFile(file); string(b) != value {
					t.Errorf("%q, %v, want %q", b, err, value)
				}
			}
			if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			planned := plan.CgroupDir{Path: dir, Make: true, IfFound: tc.found,
				Properties: []plan.CgroupProperty{{Name: "property", Value: "new"}}}
			r := &Runner{Cgroups: &cgroups.Set{}, Plan: &plan.Plan{Cgroups: []plan.CgroupDir{planned}}}
			if err := r.makeCgroups(); !errors.Is(err, tc.err) {
				t.Errorf("%v, want %v", err, tc.err)
			}
			want(tc.value)
			if err := r.removeCgroups(); err != nil {
				t.Error(err)
			}
			want("old")
		})
	}
}
