//go:build amd64

package run

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// makeCgroups makes the cgroups that the tasks will move to, and sets their properties. It remembers how to undo that.
func (r *Runner) makeCgroups() error {
	for i := range r.Plan.Cgroups {
		if err := r.makeCgroup(&r.Plan.Cgroups[i]); err != nil {
			return fmt.Errorf("restore: cgroup %s: %w", r.Plan.Cgroups[i].Name, err)
		}
	}
	return nil
}

// makeCgroup makes a cgroup and sets its properties.
func (r *Runner) makeCgroup(d *plan.CgroupDir) error {
	if d.Make {
		err := r.Cgroups.Make(d.Path)
		if errors.Is(err, os.ErrExist) { // another restore needed it, too, and has finished it
			return r.foundCgroup(d, err)
		}
		if err == nil {
			err = own(d.Path, d.Owner)
		}
		if err != nil {
			return err
		}
	}
	return r.setProperties(d)
}

// foundCgroup sees to a cgroup that was not there when the plan was made.
func (r *Runner) foundCgroup(d *plan.CgroupDir, exists error) error {
	switch d.IfFound {
	case plan.CgroupRefused:
		return exists
	case plan.CgroupSet:
		there := *d
		there.Make = false
		return r.setProperties(&there)
	}
	return nil
}

func (r *Runner) setProperties(d *plan.CgroupDir) error {
	for _, prop := range d.Properties {
		if err := r.setProperty(d, prop); err != nil {
			return fmt.Errorf("%s %q: %w", prop.Name, prop.Value, err)
		}
	}
	return nil
}

// setProperty gives a property its value, and one of a cgroup that was made its owner.
func (r *Runner) setProperty(d *plan.CgroupDir, prop plan.CgroupProperty) error {
	name := path.Join(d.Path, prop.Name)
	if prop.Value != "" {
		if err := r.writeProperty(d, name, prop); err != nil {
			return err
		}
	}
	if !d.Make {
		return nil
	}
	if err := own(name, prop.Owner); prop.Value != "" || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil // this kernel's cgroups have no such file, and nothing was in it
}

// writeProperty writes a value that differs from the present one: some properties say more than they take.
func (r *Runner) writeProperty(d *plan.CgroupDir, name string, prop plan.CgroupProperty) error {
	if was, err := os.ReadFile(name); err == nil {
		text := strings.TrimRight(string(was), "\n")
		if text == prop.Value {
			return nil
		}
		if !d.Make {
			r.undoCgroups = append(r.undoCgroups, func() error { return os.WriteFile(name, was, 0) })
		}
	} else if errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, []byte(prop.Value), 0)
}

// own gives a file of a cgroup its owner and mode, so that its delegate can still use it.
func own(name string, to *pb.CgroupPerms) error {
	if to == nil {
		return nil
	}
	if err := os.Chown(name, int(to.GetUid()), int(to.GetGid())); err != nil {
		return err
	}
	return os.Chmod(name, os.FileMode(to.GetMode()&0o777))
}

// removeCgroups undoes makeCgroups; the tasks are gone.
func (r *Runner) removeCgroups() error {
	var errs []error
	for _, undo := range slices.Backward(r.undoCgroups) {
		if err := undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	r.undoCgroups = nil
	return several.Join(append(errs, r.Cgroups.Remove())...)
}
