//go:build amd64

package restorer

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/run"
)

// Options describe one restore.
type Options struct {
	Images  string       // the image directory that `criu dump` wrote
	Plugins []blob.Input // in the order in which they run
	Plan    job.Options
	Run     run.Options
}

// Restored is a restore ready to go: the images are read and everything is decided, but no process exists.
type Restored struct {
	Plan  *plan.Plan
	opts  *Options
	chain chain
	stub  []byte
}

// Prepare reads the images and plans the restore. Close the result when done with it.
func Prepare(opts *Options) (r *Restored, err error) {
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
	plan.RestoreTimeNs = time.Now().UnixNano()
	if plan.DumpTimeNs, err = dumpTime(fsys[0]); err != nil {
		return nil, err
	}
	opts.Run.Tell(host.DescribeImages(dir, plan.DumpTimeNs))
	p, err := planner.Build(dir, layout, planner.HooksOf(opts.Plugins), here, &plan)
	if err != nil {
		return nil, err
	}
	return &Restored{Plan: p, opts: opts, chain: chain, stub: stub}, nil
}

// Close releases the image directories.
func (r *Restored) Close() error { return r.chain.close() }

// Run restores the task and lets it go; it gives the root task's pid. On an error, also when ctx ends before the tasks are let
// go, nothing of it is left.
func (r *Restored) Run(ctx context.Context) (pid int, err error) {
	run := run.Runner{Ctx: ctx, Plan: r.Plan, Opts: &r.opts.Run, Stub: r.stub}
	if err := run.Run(); err != nil {
		return 0, err
	}
	return r.Plan.Tasks[0].Pid, nil
}

// dumpTime is when CRIU completed the images: it writes inventory.img last.
func dumpTime(fsys fs.FS) (int64, error) {
	info, err := fs.Stat(fsys, "inventory.img")
	if err != nil {
		return 0, fmt.Errorf("images %s: %w", filepath.Base("inventory.img"), err)
	}
	return info.ModTime().UnixNano(), nil
}
