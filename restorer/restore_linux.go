//go:build amd64

package restorer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/chain"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/namespaces"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner"
	"github.com/crpie/crpie/restorer/internal/run"
)

// Options describe one restore. Prepare reads them; changes after that have no effect.
type Options struct {
	Images  string       // the image directory that `criu dump` wrote
	Plugins []blob.Input // in the order in which they run
	Plan    PlanOptions
	Run     RunOptions

	// AllowUntrusted has Prepare read Images as OpenUntrusted does (--allow-untrusted), and not as Open.
	AllowUntrusted bool
}

func (o *Options) check() error { return several.Join(o.Plan.check(), o.Run.check()) }

// Checkpoint is an image directory that has been read. Any number of restores can be prepared from it, also while the
// processes of others run; each finds this host as it is then. It is not for several goroutines at a time.
type Checkpoint struct {
	chain *chain.Chain
	files []fs.FS
	dir   *images.Dir
}

// Open reads the images that `criu dump` wrote to a directory. Close the result when done with it, and with what was
// prepared from it.
//
// Directory and files must belong to root, to this process's user, or to who started it by sudo(8), and others must not
// be able to write them: what is in images runs with the rights of the dumped process.
func Open(imageDir string) (*Checkpoint, error) { return open(imageDir, false) }

// OpenUntrusted is Open of images that another user could have written.
func OpenUntrusted(imageDir string) (*Checkpoint, error) { return open(imageDir, true) }

func open(imageDir string, untrusted bool) (c *Checkpoint, err error) {
	chain, err := chain.Open(imageDir, trust.Rule{Untrusted: untrusted, Option: "--allow-untrusted"})
	if err != nil {
		return nil, err
	}
	c = &Checkpoint{chain: chain, files: chain.FS()}
	if c.dir, err = images.Open(c.files[0], c.files[1:]...); err != nil {
		return nil, several.Join(err, c.Close())
	}
	return c, nil
}

// Close releases the image directories; again, it does nothing.
func (c *Checkpoint) Close() error { return c.chain.Close() }

// Prepared is a restore ready to go: the images are read and everything is decided, but no process exists. It is for
// one Run, and not for several goroutines at a time.
type Prepared struct {
	plan  *plan.Plan
	run   *run.Options
	own   *Checkpoint // that Close closes; nil: the caller does
	stub  []byte
	first []byte
	made  *namespaces.Made

	init  *sys.First        // of the pid namespace that Run has made
	calls []*report.Process // with RunOptions.Calls
}

// Prepare reads the images and plans the restore. A *refusal.Refusal lists everything that cannot be restored. Close
// the result when done with it.
func Prepare(opts *Options) (*Prepared, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	c, err := open(opts.Images, opts.AllowUntrusted)
	if err != nil {
		return nil, err
	}
	p, err := c.prepare(opts)
	if err != nil {
		return nil, several.Join(err, c.Close())
	}
	p.own = c
	return p, nil
}

// Prepare plans a restore, as the function Prepare does; it does not look at the options' Images.
func (c *Checkpoint) Prepare(opts *Options) (*Prepared, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	return c.prepare(opts)
}

func (c *Checkpoint) prepare(opts *Options) (p *Prepared, err error) {
	dir := c.dir
	wanted := opts.Plan.namespaces()
	if opts.Run.Master != nil {
		wanted.Orphans = planner.Orphans(dir)
	}
	own := namespaces.New(dir, wanted)
	if !own.PID {
		keepClear(dir)
		if err := ownID(dir); err != nil {
			return nil, err
		}
	}
	if err := checkStages(opts.Plugins); err != nil {
		return nil, err
	}
	layout, stub, err := planner.LayBlob(opts.Plugins)
	if err != nil {
		return nil, err
	}
	first, err := planner.FirstProcess(own)
	if err != nil {
		return nil, err
	}
	here, err := host.This()
	if err != nil {
		return nil, err
	}
	run, job := opts.Run.runner(), opts.Plan.job()
	if run.Pause != nil {
		if err := checkPause(run.Pause.At, opts.Plugins); err != nil {
			return nil, err
		}
		run.Plugins = opts.Plugins
		job.PauseHook, job.PausePlugin = uint32(run.Pause.At.Stage), run.Pause.At.Index(opts.Plugins)
	}
	if opts.Run.watched() {
		job.PauseHook = abi.EveryCall
		run.Watch = watch(opts, dir)
	}
	if run.Trace != nil {
		for _, line := range here.Describe() {
			run.Tell(line)
		}
	}
	job.OpenImage = c.chain.OpenImage
	if run.Body != nil {
		job.Become = run.Body.Pid()
	}
	job.RestoreTime = time.Now()
	if job.DumpTime, err = dumpTime(c.files[0]); err != nil {
		return nil, err
	}
	run.Tell(host.DescribeImages(dir, job.DumpTime))
	job.Namespaces, job.Orphans = own, wanted.Orphans
	if opts.Run.BeforeMaking != nil {
		opts.Run.BeforeMaking()
	}
	made, err := own.Make(planner.Cgroups(dir, here, job))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			made.Close()
		}
	}()
	made.Facts(here, opts.Run.Act != nil)
	decided, err := planner.Build(dir, layout, planner.HooksOf(opts.Plugins), here, job)
	if err != nil {
		return nil, err
	}
	if run.Trace != nil {
		tellSections(run, decided.Image, opts.Plugins)
	}
	return &Prepared{plan: decided, run: run, made: made, stub: stub, first: first}, nil
}

// tellSections traces where the sections of plugins are, which a debugger has to know.
func tellSections(run *run.Options, image *blob.Image, plugins []blob.Input) {
	for i := range plugins {
		for _, s := range image.PluginSections(i) {
			run.Tell(fmt.Sprintf("plugin %s: section %s at %#x, %d bytes", image.PluginName(i), s.Name, uint64(s.Addr),
				s.Size))
		}
	}
}

// WritePlan writes what the restore will do as text, for people: its form may change.
func (p *Prepared) WritePlan(w io.Writer) { p.plan.Print(w) }

// WritePlanJSON writes the same as a JSON document, whose members are described in docs/dry-run.md.
func (p *Prepared) WritePlanJSON(w io.Writer) error { return p.plan.Document().WriteJSON(w) }

// Notes lists what comes back otherwise than it was.
func (p *Prepared) Notes() []string { return p.plan.Notes }

// Warnings lists what the application may miss, or meet, afterwards.
func (p *Prepared) Warnings() []string { return p.plan.Warnings }

// Close releases namespaces that no task is in, and the image directories that the function Prepare has opened.
func (p *Prepared) Close() error {
	if p.init != nil {
		p.init.Close()
		p.init = nil
	}
	err := p.made.Close()
	if p.own != nil {
		err = several.Join(err, p.own.Close())
	}
	return err
}

// Run restores the task and lets it go; it gives the root task's pid. On an error, also when ctx ends before the tasks
// are let go, nothing of it is left.
func (p *Prepared) Run(ctx context.Context) (pid int, err error) {
	run := run.Runner{Ctx: ctx, Plan: p.plan, Opts: p.run, Stub: p.stub, First: p.first, Network: p.made,
		Cgroups: p.made.Cgroups}
	err = run.Run()
	p.calls = run.Calls()
	if err != nil {
		return 0, err
	}
	p.made.Keep()
	p.init = run.FirstProcess()
	return run.Root(), nil
}

// Calls lists the tasks into which plugins have been called, and what was noted of that, as RunOptions.Calls and those
// beside it say; also when Run has failed, until then.
func (p *Prepared) Calls() []*report.Process { return p.calls }

// watch says what is noted of hooks.
func watch(opts *Options, dir *images.Dir) *run.Watch {
	keep := renew.Keep{VGetrandom: opts.Plan.KeepVgetrandom, WipeOnFork: opts.Plan.KeepWipeOnFork}
	return &run.Watch{Trace: opts.Run.TraceCalls, Diff: opts.Run.Diff,
		Dumped: func(pid int) (*imagemem.Dumped, error) {
			task := dir.TaskByPid(uint32(pid))
			if task == nil {
				return nil, fmt.Errorf("images: no task %d", pid)
			}
			return imagemem.NewDumped(dir, task, keep)
		}}
}

// endTime bounds the wait for processes that have come into a pid namespace from outside.
const endTime = time.Second

// AwaitPidNamespace waits until the pid namespace of PlanOptions.NewPids is gone, when the root task has ended and its
// parent has collected it. It does not wait for processes that the task has left there: they go on.
func (p *Prepared) AwaitPidNamespace() {
	if p.init != nil && p.init.Alone() {
		p.init.Ended(endTime)
	}
}

// dumpTime is when CRIU completed the images: it writes inventory.img last.
func dumpTime(fsys fs.FS) (time.Time, error) {
	info, err := fs.Stat(fsys, "inventory.img")
	if err != nil {
		return time.Time{}, fmt.Errorf("images inventory.img: %w", err)
	}
	return info.ModTime(), nil
}
