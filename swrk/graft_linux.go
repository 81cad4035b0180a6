//go:build amd64

package swrk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/chain"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/scratch"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/report"
)

// grafted is an image directory that exists for one restore.
type grafted struct {
	scratch *scratch.Dir
	dir     string // in it
	plan    *graft.Plan
	tasks   []uint32 // all pids of the images, the root task's first
}

// removeGraft removes the directory. That it cannot changes nothing for the runtime.
func (s *session) removeGraft() {
	if err := s.graft.scratch.Remove(); err != nil {
		fmt.Fprintf(s.front.Errors, "crpie: %v\n", escape.Error(err))
	}
}

// refuseForGraft names, all together, what a restore of grafted images cannot do.
func (s *session) refuseForGraft() error {
	var errs []error
	no := func(wrong bool, what, why string) {
		if wrong {
			errs = append(errs, fmt.Errorf("%s: not supported together with pie-plugin: %s", what, why))
		}
	}
	no(s.opts.GetLazyPages(), "lazy_pages", "pages of plugins are in no page server")
	no(s.opts.GetLeaveStopped(), "leave_stopped",
		"hooks would run when the tasks are continued, and nobody could wait for them")
	no(len(s.opts.GetExecCmd()) > 0, "exec_cmd", "the command would run before the hooks")
	return several.Join(errs...)
}

// makeGraft grafts the plugins onto the images, which stay as they are.
func (s *session) makeGraft(ctx context.Context) error {
	source, err := s.imagesDir()
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer source.Close()
	name, err := realName(source)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	runtimes := trust.Rule{Untrusted: true} // it has unpacked the images where it alone can write
	all, err := chain.Open(name, runtimes)
	if err != nil {
		return err
	}
	defer all.Close()
	fsys := all.FS()
	dir, err := images.Open(fsys[0], fsys[1:]...)
	if err != nil {
		return err
	}
	opts, err := s.graftOptions(all.Top())
	if err != nil {
		return err
	}
	parent, apart := placeBeside(source, name)
	opts.Copy = apart
	g := &grafted{}
	if g.plan, err = graft.New(dir, opts); err != nil {
		return err
	}
	for _, t := range dir.Tasks {
		g.tasks = append(g.tasks, t.Pid)
	}
	if g.scratch, err = scratch.Make(parent); err != nil {
		return err
	}
	g.dir = filepath.Join(g.scratch.Name, "images")
	s.graft = g
	if err := g.plan.WriteDir(ctx, name, g.dir); err != nil {
		return err
	}
	s.logGraft(name)
	return nil
}

// graftOptions makes the options of graft.New from the configuration. Plugins, tasks and images are looked at all, so
// that the log has every mistake at once.
func (s *session) graftOptions(root *os.Root) (*graft.Options, error) {
	info, err := root.Stat("inventory.img") // criu writes it last
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	c := s.config
	opts := &graft.Options{
		Patience: patienceOfTasks, HookTimeout: c.HookTimeout, LogLevel: report.LogInfo,
		AllowSeccomp: c.AllowSeccomp,
		AllowSkipped: c.AllowSkipped, ResidentHooks: c.Resident,
		Tool: s.front.Tool, DumpTime: info.ModTime(), KeepVgetrandom: c.KeepVgetrandom,
		KeepWipeOnFork: c.KeepWipeOnFork, OpenFile: files.OpenBelow(cmp.Or(s.opts.GetRoot(), "/")),
	}
	inputs, err := pluginspec.Load(c.Plugins, c.trust())
	errs := []error{err}
	for _, in := range inputs {
		if in.Plugin == nil {
			continue // Load has said why
		}
		opts.Plugins = append(opts.Plugins, graft.Plugin{Input: in, SHA256: in.Plugin.SHA256()})
	}
	for _, t := range c.Tasks {
		selector, err := blob.ParseSelector(t)
		if err != nil {
			err = fmt.Errorf("pie-task: %w", err)
		}
		errs = append(errs, err)
		opts.Tasks = append(opts.Tasks, selector)
	}
	return opts, several.Join(errs...)
}

// logGraft says in restore.log what was done to the images and what has no effect.
func (s *session) logGraft(name string) {
	s.log.printf("restore-with %s: grafted %s onto %s for criu", s.config.Way, s.config.describePlugins(),
		escape.Name(name))
	for _, note := range append(s.config.notes, s.graft.plan.Notes...) {
		s.log.printf("%s", escape.Name(note))
	}
	if s.opts.GetAutoDedup() {
		s.log.printf("auto_dedup has no effect: the images are left as they are")
	}
}

// realName finds the path of an open directory, which must still be there.
func realName(dir *os.File) (string, error) {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return "", err
	}
	here, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info, err := dir.Stat(); err != nil || !os.SameFile(info, here) {
		return "", errors.Join(fmt.Errorf("%s is another directory than the one that was opened", name), err)
	}
	return name, nil
}

// placeBeside chooses a directory: files can be linked beside the images, and a relative link "parent" leads to them
// also for tasks that are in another mount namespace by then. Where one cannot write, or the images are a mount of
// their own, the directory for temporary files has to do. apart: on another mount, where nothing can be linked.
func placeBeside(source *os.File, name string) (dir string, apart bool) {
	beside := filepath.Dir(name)
	if sameMount(source, beside) && unix.Access(beside, unix.W_OK) == nil {
		return beside, false
	}
	return os.TempDir(), true
}

// sameMount reports whether an open directory is on the same mount as another, proc_pid_fdinfo(5).
func sameMount(dir *os.File, other string) bool {
	f, err := os.OpenFile(other, directory, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	a, err1 := mountID(dir)
	b, err2 := mountID(f)
	return err1 == nil && err2 == nil && a == b
}

// mountID returns the mount that a file was opened in, proc_pid_fdinfo(5).
func mountID(f *os.File) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fs.ErrNotExist
}
