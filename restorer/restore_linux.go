//go:build amd64

package restorer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner"
	"github.com/crpie/crpie/restorer/internal/run"
)

// Options describe one restore.
type Options struct {
	Images  string       // the image directory that `criu dump` wrote
	Plugins []blob.Input // in the order in which they run
	Plan    PlanOptions
	Run     RunOptions
}

// Prepared is a restore ready to go: the images are read and everything is decided, but no process exists. It is for one
// Run, and not for several goroutines at a time.
type Prepared struct {
	plan  *plan.Plan
	opts  *Options
	chain chain
	stub  []byte
}

// Prepare reads the images and plans the restore. A *refusal.Refusal lists everything that cannot be restored. Close the
// result when done with it.
func Prepare(opts *Options) (p *Prepared, err error) {
	chain, err := openChain(opts.Images)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			chain.close()
		}
	}()
	fsys := chain.fs()
	dir, err := images.Open(fsys[0], fsys[1:]...)
	if err != nil {
		return nil, err
	}
	keepClear(dir)
	if err := ownID(dir); err != nil {
		return nil, err
	}
	layout, stub, err := planner.LayBlob(opts.Plugins)
	if err != nil {
		return nil, err
	}
	here, err := host.This()
	if err != nil {
		return nil, err
	}
	for _, line := range here.Describe() {
		opts.Run.Tell(line)
	}
	plan := opts.Plan
	plan.OpenImage = chain.openImage
	if opts.Run.Body != nil {
		plan.Become = opts.Run.Body.Pid()
	}
	plan.RestoreTimeNs = time.Now().UnixNano()
	if plan.DumpTimeNs, err = dumpTime(fsys[0]); err != nil {
		return nil, err
	}
	opts.Run.Tell(host.DescribeImages(dir, plan.DumpTimeNs))
	decided, err := planner.Build(dir, layout, planner.HooksOf(opts.Plugins), here, &plan)
	if err != nil {
		return nil, err
	}
	return &Prepared{plan: decided, opts: opts, chain: chain, stub: stub}, nil
}

// WritePlan writes what the restore will do as text, for people: its form may change.
func (p *Prepared) WritePlan(w io.Writer) { p.plan.Print(w) }

// Notes lists what comes back otherwise than it was.
func (p *Prepared) Notes() []string { return p.plan.Notes }

// Warnings lists what the application may miss, or meet, afterwards.
func (p *Prepared) Warnings() []string { return p.plan.Warnings }

// Close releases the image directories.
func (p *Prepared) Close() error { return p.chain.close() }

// Run restores the task and lets it go; it gives the root task's pid. On an error, also when ctx ends before the tasks are let
// go, nothing of it is left.
func (p *Prepared) Run(ctx context.Context) (pid int, err error) {
	run := run.Runner{Ctx: ctx, Plan: p.plan, Opts: &p.opts.Run, Stub: p.stub}
	if err := run.Run(); err != nil {
		return 0, err
	}
	return p.plan.Tasks[0].Pid, nil
}

// dumpTime is when CRIU completed the images: it writes inventory.img last.
func dumpTime(fsys fs.FS) (int64, error) {
	info, err := fs.Stat(fsys, "inventory.img")
	if err != nil {
		return 0, fmt.Errorf("images %s: %w", filepath.Base("inventory.img"), err)
	}
	return info.ModTime().UnixNano(), nil
}
