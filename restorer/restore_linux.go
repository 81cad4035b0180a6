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
)

// Options describe one restore.
type Options struct {
	Images  string       // the image directory that `criu dump` wrote
	Plugins []blob.Input // in the order in which they run
	Plan    PlanOptions
	Run     RunOptions
}

// Restored is a restore ready to go: the images are read and everything is decided, but no process exists.
type Restored struct {
	Plan  *Plan
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
	layout, stub, err := layBlob(opts.Plugins)
	if err != nil {
		return nil, err
	}
	host, err := ThisHost()
	if err != nil {
		return nil, err
	}
	for _, line := range host.describe() {
		opts.Run.trace(line)
	}
	plan := opts.Plan
	plan.OpenImage = chain.openImage
	plan.RestoreTimeNs = time.Now().UnixNano()
	if plan.DumpTimeNs, err = dumpTime(fsys[0]); err != nil {
		return nil, err
	}
	opts.Run.trace(describeImages(dir, plan.DumpTimeNs))
	p, err := BuildPlan(dir, layout, hooked(opts.Plugins), host, &plan)
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
	run := runner{ctx: ctx, plan: r.Plan, opts: &r.opts.Run, stub: r.stub}
	if err := run.run(); err != nil {
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
