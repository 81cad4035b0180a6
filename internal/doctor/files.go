//go:build linux && amd64

package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/scratch"
	"github.com/crpie/crpie/internal/trust"
)

// annotation names a configuration file of criu's for one container.
const annotation = "org.criu.config"

// configuration reads every file that a restore of some container here would read, and loads the plugins in them.
func (r *round) configuration() {
	named := containersFiles()
	found := r.Front.Examine(append([]string{"/etc/criu/runc.conf", "/etc/criu/crun.conf"}, named...))
	var plugins []string
	var rule trust.Rule
	for _, f := range found {
		plugins = append(plugins, f.Plugins...)
		rule.Untrusted = rule.Untrusted || f.AllowUntrusted
		if f.Err != nil {
			r.wrong("configuration", "docs/containers.md has the lines that there are", f.Err)
			continue
		}
		r.fine("configuration", "%s, pie-plugin lines: %d", f.Name, len(f.Plugins))
	}
	for _, name := range named {
		if _, err := os.Stat(name); err != nil {
			r.add("configuration", Problem, "write it, or make the container anew without the annotation "+annotation,
				"a container names it: %v", err)
		}
	}
	r.plugins(plugins, rule)
}

// plugins checks each object as crpie check does, and its parameters.
func (r *round) plugins(lines []string, rule trust.Rule) {
	slices.Sort(lines)
	lines = slices.Compact(lines)
	if len(lines) == 0 {
		r.add("plugins", Note,
			"write pie-plugin FILE.o into "+filepath.Join(r.Front.ConfigDir, "containers.d", "NAME.conf"),
			"none is configured: every container is restored by criu, untouched")
		return
	}
	for _, line := range lines {
		path, _, err := pluginspec.Parse(line)
		if err == nil && !filepath.IsAbs(path) {
			err = fmt.Errorf("%s: runtimes start crpie in directories of theirs: give an absolute path", path)
		}
		if err == nil {
			_, err = pluginspec.Load([]string{line}, rule)
		}
		if err != nil {
			r.wrong(
				"plugins",
				"crpie check "+path+" tells what to change, crpie inspect "+path+" which parameters there are",
				err,
			)
			continue
		}
		r.fine("plugins", "%s", pluginspec.WithoutValues(line))
	}
}

// containersFiles lists the files that containers of this machine name.
func containersFiles() (names []string) {
	for _, place := range []string{
		"/var/lib/containers/storage/overlay-containers/*/userdata/config.json",
		"/run/containers/storage/overlay-containers/*/userdata/config.json",
		"/run/containerd/io.containerd.runtime.v2.task/*/*/config.json",
		"/run/runc/*/state.json",
	} {
		found, _ := filepath.Glob(place)
		for _, name := range found {
			if file := configFileOf(name); filepath.IsAbs(file) && !slices.Contains(names, file) {
				names = append(names, file)
			}
		}
	}
	return names
}

// maxJSON bounds a container's description, bytes.
const maxJSON = 4 << 20

// configFileOf reads the annotation from a bundle's config.json, or from runc's state.json, whose labels are the
// annotations.
func configFileOf(name string) string {
	f, _, err := files.OpenRegular(name)
	if err != nil {
		return "" // it has just ended
	}
	defer f.Close()
	var container struct {
		Annotations map[string]string
		Config      struct{ Labels []string }
	}
	if json.NewDecoder(io.LimitReader(f, maxJSON)).Decode(&container) != nil {
		return "" // its runtime's to say
	}
	for _, label := range container.Config.Labels {
		if file, ok := strings.CutPrefix(label, annotation+"="); ok {
			return file
		}
	}
	return container.Annotations[annotation]
}

// leftovers looks for directories in which killed fronts have worked.
func (r *round) leftovers() {
	before := len(r.findings)
	for _, parent := range r.parents() {
		found, err := scratch.Find(parent)
		if err != nil {
			r.unreadable(parent, Note, err)
		}
		for _, name := range found {
			r.leftover(name)
		}
	}
	if len(r.findings) == before {
		r.fine("leftovers", "none")
	}
}

// unreadable reports a place in which there may be leftovers. One that has gone has none.
func (r *round) unreadable(dir string, verdict Verdict, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, fs.ErrPermission):
		r.add("leftovers", verdict, "run crpie doctor as root", "%v: there may be some", err)
	default:
		r.add("leftovers", verdict, "", "%v: there may be some in %s", err, dir)
	}
}

// leftover judges a directory, which is not worth a word if its owner still works in it.
func (r *round) leftover(name string) {
	err := scratch.Abandoned(name)
	abandoned := err == nil
	if abandoned && r.Clean {
		err = scratch.Sweep(name)
	}
	switch {
	case errors.Is(err, scratch.ErrInUse), errors.Is(err, fs.ErrNotExist):
	case err != nil && abandoned:
		r.add("leftovers", Problem, "", "%s: a crpie that was killed has left it, and it cannot be removed: %v", name, err)
	case err != nil:
		r.add("leftovers", Note, "", "%s: %v", name, err)
	case r.Clean:
		r.fine("leftovers", "%s: removed", name)
	default:
		r.add("leftovers", Problem, "crpie doctor --clean removes it",
			"%s: a crpie that was killed has left it", name)
	}
}

// parents lists where fronts work: beside images, and in directories for temporary files.
func (r *round) parents() (all []string) {
	all = []string{os.TempDir(), "/tmp", "/var/tmp"}
	for _, place := range []string{
		"/var/lib/containers/storage/overlay-containers/*/userdata",
		"/run/containers/storage/overlay-containers/*/userdata",
		"/run/containerd/io.containerd.runtime.v2.task/*/*",
	} {
		found, _ := filepath.Glob(place)
		all = append(all, found...)
	}
	for _, dir := range r.Dirs {
		all = append(all, r.below(dir)...)
	}
	for i, dir := range all {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			all[i] = real
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// below lists a directory and all directories in it, but for those that are to be found. It was asked for: that it
// cannot be read is a problem.
func (r *round) below(name string) (all []string) {
	dir, ok := r.directory(name)
	if !ok {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			all = slices.DeleteFunc(all, func(dir string) bool { return dir == name })
			r.unreadable(name, Problem, err)
			return nil
		case !e.IsDir():
			return nil
		case name != dir && scratch.Is(e.Name()):
			return fs.SkipDir
		}
		all = append(all, name)
		return nil
	})
	return all
}

// directory returns where the name of a directory leads: filepath.WalkDir does not follow a link that it begins at.
func (r *round) directory(name string) (dir string, ok bool) {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", name)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(name)
	}
	switch {
	case err == nil:
		return dir, true
	case errors.Is(err, fs.ErrPermission):
		r.unreadable(name, Problem, err)
	default:
		r.add("leftovers", Problem, "name a directory that there is", "%v", err)
	}
	return "", false
}
