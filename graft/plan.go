package graft

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/graft/core"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/pick"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/refusal"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// Options are the choices of whoever grafts.
type Options struct {
	Plugins       []Plugin
	Tasks         []Selector      // in which a plugin may run at all; empty: in every task
	Copy          bool            // the new directory stands alone instead of referring to the old one
	Continue      bool            // a failing hook does not end its task
	HookTimeout   time.Duration   // for one hook; 0: none
	LogFile       string          // in the file system of the task; empty: its standard error
	LogLevel      report.LogLevel // least important level of plugins' lines that is written
	AllowSeccomp  bool            // graft although filters deny calls of the core or of plugins
	AllowSkipped  bool            // plugins may register stages that a graft has not
	Tool          string          // version, for the provenance
	DumpTime      time.Time       // of which plugins are told; zero: unknown, they see 0
	ParentMissing bool            // the new images cannot have a parent: an archive
	Limits        Limits          // of an archive
	OpenFile      OpenFile        // for imports of plugins and resident hooks; nil: there is none
	ResidentHooks string          // of the tasks themselves: "auto", "require", or a SONAME; empty: none run
	// Patience, if not 0: each task waits behind its hooks until whoever supervises it lets it go
	// (Plan.Supervised), and ends when it hears nothing for so long.
	Patience time.Duration
	// KeepVgetrandom and KeepWipeOnFork bring random state back as it was dumped.
	KeepVgetrandom, KeepWipeOnFork bool
}

// dumpTimeNs gives the time of the dump as plugins see it, CLOCK_REALTIME.
func (o *Options) dumpTimeNs() int64 {
	if o.DumpTime.IsZero() {
		return 0
	}
	return o.DumpTime.UnixNano()
}

// check finds values out of range.
func (o *Options) check() error {
	var errs []error
	if o.HookTimeout < 0 {
		errs = append(errs, fmt.Errorf("options: HookTimeout is %v, want 0 or more", o.HookTimeout))
	}
	if !o.LogLevel.Known() {
		errs = append(errs, fmt.Errorf("options: LogLevel is %v, want %v to %v", o.LogLevel, report.LogOff,
			report.LogDebug))
	}
	return several.Join(errs...)
}

// Plugin is one --pie-plugin.
type Plugin struct {
	blob.Input
	SHA256 string // of the object file
}

// Selector picks tasks.
type Selector = blob.Selector

// Plan is what the new directory will hold.
type Plan struct {
	Files      []File // new ones and those that take the place of one of the same name, by name
	Parent     bool   // the new directory needs a link "parent" to the old one
	Provenance Provenance
	Notes      []string      // what whoever grafts may want to know
	Supervised []*Supervised // with Options.Patience: all grafted tasks
}

// File is one file: its parts one after the other.
type File struct {
	Name  string
	Parts []Part
}

// Part is bytes, or a stretch of a file of the directory that is grafted.
type Part struct {
	Data         []byte
	From         string
	Offset, Size int64
}

// grafter plans one directory.
type grafter struct {
	problems
	dir    *images.Dir
	opts   *Options
	labels []string // of the plugins
	layout *blob.Layout
	runsIn []map[uint32]bool // by plugin: the pids of its tasks
	plan   *Plan

	mapped   exports.Files              // of the tasks
	imports  map[uint32][]imported      // by pid
	resident map[uint32][]blob.Resident // hooks that tasks carry themselves, by pid

	outputs map[*pb.FileEntry]bool // standard output and standard error of a task
}

// New plans the graft of plugins onto a directory: pure, and the same for the same input. A *refusal.Refusal lists
// everything that cannot be grafted.
func New(dir *images.Dir, opts *Options) (*Plan, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	g := &grafter{
		problems: problems{refuse.Collector{Verb: refusal.Graft}}, dir: dir, opts: opts,
		labels: blob.Labels(inputs(opts.Plugins)), plan: &Plan{Parent: !opts.Copy && !opts.ParentMissing},
	}
	g.standAloneIfNeeded()
	g.checkDirectory()
	g.checkStages()
	g.findOutputs()
	tasks := g.selected()
	for _, t := range tasks {
		g.checkTask(t)
	}
	g.checkWatchdogs(tasks)
	g.checkSeccomp(tasks)
	if g.Len() == 0 {
		g.findImports(tasks)
	}
	if err := g.err(); err != nil {
		return nil, err
	}
	layout, err := layBlob(opts.Plugins)
	if err != nil {
		return nil, err
	}
	g.layout = layout
	g.begin()
	for _, t := range tasks {
		if err := g.task(t); err != nil {
			return nil, fmt.Errorf("graft task %d: %w", t.Pid, err)
		}
	}
	g.noteRandom(tasks)
	if err := g.finish(); err != nil {
		return nil, err
	}
	return g.plan, nil
}

// layBlob loads the core and lays it out with the plugins.
func layBlob(plugins []Plugin) (*blob.Layout, error) {
	c, err := loader.Parse(core.Object, "graft_amd64.o", loader.Options{Core: true})
	if err != nil {
		return nil, err
	}
	return blob.NewLayout(c, inputs(plugins))
}

func inputs(plugins []Plugin) []blob.Input {
	all := make([]blob.Input, len(plugins))
	for i, p := range plugins {
		all[i] = p.Input
	}
	return all
}

// selected lists the tasks to graft, in the order of the tree: those in which a plugin runs.
func (g *grafter) selected() []*images.Task {
	allowed := pick.Tasks(&g.Collector, "--task ", g.dir.Tasks, g.opts.Tasks)
	any := map[uint32]bool{}
	for i, p := range g.opts.Plugins {
		runsIn := pick.Tasks(&g.Collector, "plugin "+g.labels[i]+" select=", g.dir.Tasks, p.Tasks)
		for pid := range runsIn {
			any[pid] = true
		}
		g.runsIn = append(g.runsIn, runsIn)
	}
	g.findResident(allowed)
	var tasks []*images.Task
	for _, t := range g.dir.Tasks {
		if allowed[t.Pid] && (any[t.Pid] || len(g.resident[t.Pid]) > 0) {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 && g.Len() == 0 {
		and := ""
		if g.opts.ResidentHooks != "" {
			and = ", and none carries hooks itself"
		}
		g.refuse("images", "", "no plugin runs in any living task that --task permits%s", and)
	}
	return tasks
}

// renewed gives the mappings of a task that come back as fresh memory.
func (g *grafter) renewed(t *images.Task) map[*pb.VmaEntry]renew.Kind {
	return renew.Find(g.dir, t, renew.Keep{VGetrandom: g.opts.KeepVgetrandom, WipeOnFork: g.opts.KeepWipeOnFork})
}

// noteRandom says what becomes of random state: only the core of a graft renews it.
func (g *grafter) noteRandom(grafted []*images.Task) {
	for _, t := range g.dir.Tasks {
		if t.Dead() || len(g.renewed(t)) == 0 {
			continue
		}
		note := "task %d: random state of the vDSO's getrandom, or marked with MADV_WIPEONFORK, is renewed"
		if !slices.Contains(grafted, t) {
			note = "task %d: random state of the vDSO's getrandom, or marked with MADV_WIPEONFORK, is the same in all clones, because no plugin runs there"
		}
		g.plan.Notes = append(g.plan.Notes, fmt.Sprintf(note, t.Pid))
	}
}

// late tells whether a graft reaches a stage: threads exist and privileges are the application's by then.
func late(h stage.Stage) bool { return h == stage.PreSigreturnThread || h == stage.PreSigreturn }

// checkStages refuses hooks that a graft cannot run: criu itself goes through the earlier stages, and the graft's code
// begins after them.
func (g *grafter) checkStages() {
	runs := 0
	for i, p := range g.opts.Plugins {
		if p.Plugin.OnlyAroundDump() {
			g.refuse("plugin "+g.labels[i], "crpie try -p PID --stages pre-dump runs it in a live process",
				"it has hooks around a dump alone, which are not run after it")
		}
		for _, h := range p.Plugin.Hooks {
			switch {
			case h.ID.OfDump():
			case late(h.ID):
				runs++
			case !g.opts.AllowSkipped:
				g.refuse("plugin "+g.labels[i],
					"use crpie restore, or --allow-skipped-stages to graft without this hook",
					"hook %s registers %s, which only crpie restore runs",
					loader.Demangle(h.Fn.Symbol), h.ID)
			}
		}
	}
	if runs == 0 && g.Len() == 0 && g.opts.ResidentHooks == "" {
		g.refuse("plugins", "", "no hook is left that a graft could run: %s or %s", stage.PreSigreturnThread,
			stage.PreSigreturn)
	}
}

func (g *grafter) checkDirectory() {
	if _, err := fs.Stat(g.dir.FS, ProvenanceFile); !errors.Is(err, fs.ErrNotExist) {
		g.refuse(ProvenanceFile, "give all plugins at once, or take the old graft out with crpie graft --remove",
			"these images are grafted already")
	}
}

// findGap picks the middle of the largest hole: stacks grow down into theirs, heaps grow up, and new mappings come next
// to old ones.
func findGap(t *images.Task, size uint64) (uint64, error) {
	var used []memory.Span
	for _, v := range t.Mm.GetVmas() {
		used = append(used, memory.Span{Start: v.GetStart(), End: v.GetEnd()})
	}
	hole := memory.LargestHole(used)
	if hole.Size() < size+2*pageSize {
		return 0, fmt.Errorf("no hole of %d bytes in its address space (the largest has %d)", size, hole.Size())
	}
	return memory.PageDown(hole.Start + (hole.Size()-size)/2), nil
}
