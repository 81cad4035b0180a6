//go:build amd64

package restorer

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
)

// cgroupHierarchies reads where the hierarchies are mounted and where this process is in them, cgroups(7).
func cgroupHierarchies(own, mountinfo string) map[string]Hierarchy {
	all := map[string]Hierarchy{}
	for line := range strings.Lines(own) { // number:controllers:path
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 {
			all[parts[1]] = Hierarchy{Mount: cgroupMount(mountinfo, parts[1]), Own: parts[2]}
		}
	}
	return all
}

// cgroupMount finds the mount point of the whole of a hierarchy, proc_pid_mountinfo(5).
func cgroupMount(mountinfo, controllers string) string {
	for line := range strings.Lines(mountinfo) {
		front, back, _ := strings.Cut(line, " - ")
		place, kind := strings.Fields(front), strings.Fields(back)
		if len(place) < 5 || len(kind) < 3 || place[3] != "/" {
			continue
		}
		options := strings.Split(kind[2], ",")
		has := func(controller string) bool { return slices.Contains(options, controller) }
		if kind[0] == "cgroup2" && controllers == "" ||
			kind[0] == "cgroup" && controllers != "" && !slices.ContainsFunc(strings.Split(controllers, ","), func(c string) bool { return !has(c) }) {
			return unescapeMount(place[4])
		}
	}
	return ""
}

// unescapeMount: mountinfo spells white space and backslashes as octal numbers.
func unescapeMount(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}

// makeCgroups makes the cgroups that the tasks will move to, and sets their properties. It remembers how to undo that.
func (r *runner) makeCgroups() error {
	for i := range r.plan.Cgroups {
		if err := r.makeCgroup(&r.plan.Cgroups[i]); err != nil {
			return fmt.Errorf("restore: cgroup %s: %w", r.plan.Cgroups[i].Name, err)
		}
	}
	return nil
}

func (r *runner) makeCgroup(d *CgroupDir) error {
	if d.Make {
		if err := os.Mkdir(d.Path, 0o755); err != nil && !(os.IsExist(err) && sys.LeftUnfinished(d.Path)) {
			return err
		}
		sys.MarkUnfinished(d.Path)
		r.undoCgroups = append(r.undoCgroups, func() error { return os.Remove(d.Path) })
		if err := own(d.Path, d.Owner); err != nil {
			return err
		}
	}
	for _, prop := range d.Properties {
		if err := r.setProperty(d, prop); err != nil {
			return fmt.Errorf("%s %q: %w", prop.Name, prop.Value, err)
		}
	}
	return nil
}

// setProperty gives a property its value, and one of a cgroup that was made its owner.
func (r *runner) setProperty(d *CgroupDir, prop CgroupProperty) error {
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

// writeProperty writes what is not so already: some properties say more than they take.
func (r *runner) writeProperty(d *CgroupDir, name string, prop CgroupProperty) error {
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

// own gives a file of a cgroup its owner and mode, so that whom it was delegated to can still use it.
func own(name string, to *pb.CgroupPerms) error {
	if to == nil {
		return nil
	}
	if err := os.Chown(name, int(to.GetUid()), int(to.GetGid())); err != nil {
		return err
	}
	return os.Chmod(name, os.FileMode(to.GetMode()&0o777))
}

// keepCgroups: what was made belongs to the tasks.
func (r *runner) keepCgroups() error {
	for i := range r.plan.Cgroups {
		if d := &r.plan.Cgroups[i]; d.Make {
			sys.MarkFinished(d.Path)
		}
	}
	return nil
}

// removeCgroups undoes makeCgroups; the tasks are gone.
func (r *runner) removeCgroups() error {
	var errs []error
	for _, undo := range slices.Backward(r.undoCgroups) {
		if err := undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	r.undoCgroups = nil
	return errors.Join(errs...)
}
