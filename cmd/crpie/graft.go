package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/chain"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/report"
)

const graftUsage = `graft -D DIR -o DIR --pie-plugin FILE.o[,KEY=VALUE]... [FLAGS]
       crpie graft --archive FILE... -o FILE|DIR --pie-plugin FILE.o[,KEY=VALUE]... [FLAGS]
       crpie graft --remove -D DIR|--archive FILE -o DIR|FILE`

func graftManual(g *graftFlags) *manual {
	return &manual{
		usage: graftUsage,
		about: `Writes images in which the plugins are a part of the process, so that any criu restore, runc or podman runs their hooks
of the stages PIE_RST_PRE_SIGRETURN_THREAD and PIE_RST_PRE_SIGRETURN before the process goes on. What it reads stays as
it is. The new directory refers to the old one by a link "parent", unless --copy is given.`,
		groups: []flagGroup{
			{"Images", g.imageFlags},
			{"Plugins", g.pluginFlags},
		},
		examples: `crpie graft -D ckpt -o ckpt2 --pie-plugin tell-app.o,symbol=generation,mode=add && criu restore -D ckpt2 -d
crpie graft --archive ckpt.tar.zst -o new.tar.zst --pie-plugin new-id.o,var=ID && podman container restore -i new.tar.zst
crpie graft --remove -D ckpt2 -o ckpt3`,
	}
}

type graftFlags struct {
	images, out, logFile, onError  string
	root, resident                 string
	archives                       []string
	plugins, tasks                 []string
	timeout                        time.Duration
	copy, remove, seccomp, skipped bool
	untrusted                      untrusted
	keepRandom                     renew.Keep
	verbosity                      verbosity
	limits                         archiveLimits
}

func (g *graftFlags) imageFlags(f *pflag.FlagSet) {
	f.StringVarP(&g.images, "images-dir", "D", "", "Read the images that criu dump wrote to `DIR`.")
	f.StringArrayVar(&g.archives, "archive", nil,
		"Read the checkpoint `FILE` that podman or CRI-O wrote: a tar, or an image of one "+
			"(OCI layout or archive, docker archive); given several times, NAME is a directory for all.")
	g.limits.register(f)
	f.StringVarP(&g.out, "output", "o", "", "Write the directory or archive `NAME`; it must not exist.")
	f.BoolVar(&g.copy, "copy", false, "Write a directory that stands alone.")
	f.BoolVar(&g.remove, "remove", false, "Write the images from before the graft.")
}

func (g *graftFlags) pluginFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&g.plugins, "pie-plugin", nil, pluginFlagHelp)
	f.StringArrayVar(&g.tasks, "task", nil,
		"Graft onto `TASK` only: root, pid:N or comm:NAME; may be given several times.")
	addResidentHooks(f, &g.resident)
	f.StringVar(&g.root, "root", "/",
		"The files that the tasks map are below `DIR`: symbols that plugins import, and resident hooks, are looked for "+
			"there.")
	f.StringVar(&g.onError, "on-error", "kill", "When a hook fails, do `WHAT` to the task: kill or continue.")
	f.DurationVar(&g.timeout, "pie-timeout", 10*time.Second, timeoutFlagHelp)
	f.StringVar(&g.logFile, "log-file", "",
		"The restored task logs to `FILE`, as it sees files; the default, and where it cannot open that, is its standard error.")
	addVerbosity(f, &g.verbosity)
	addKeepRandom(f, &g.keepRandom)
	f.BoolVar(&g.seccomp, "allow-seccomp", false,
		"Graft although seccomp filters deny system calls of the graft's core or of a plugin.")
	f.BoolVar(&g.skipped, "allow-skipped-stages", false, "Leave out hooks of earlier stages.")
	g.untrusted.add(f, "plugins")
}

func runGraft(args []string, std streams) int {
	var g graftFlags
	f := flagSet()
	g.imageFlags(f)
	g.pluginFlags(f)
	if status, done := parse(f, graftManual(&graftFlags{}), spellLevels(args), std); done {
		return status
	}
	if problem := g.misused(f.Args()); problem != "" {
		return misuse(std, "graft -D DIR|--archive FILE -o DIR|FILE --pie-plugin FILE.o", "%s", problem)
	}
	done := ""
	err := ended.Until(func(ctx context.Context) (err error) {
		done, err = g.run(ctx, g.verbosity.level())
		return err
	})
	if err != nil {
		complain(std, err)
		return ended.Status(err, exitFailed)
	}
	fmt.Fprint(std.out, done)
	return exitOK
}

// misused says which options do not go together; empty: all do.
func (g *graftFlags) misused(rest []string) string {
	switch {
	case len(rest) > 0:
		return fmt.Sprintf("unexpected argument %q", rest[0])
	case (g.images == "") == (len(g.archives) == 0):
		return "give either -D DIR or --archive FILE"
	case g.out == "":
		return "say with -o what to write"
	case g.remove && len(g.plugins) > 0:
		return "--remove takes no --pie-plugin"
	case !g.remove && len(g.plugins) == 0 && g.resident == "":
		return "give at least one --pie-plugin, or --resident-hooks"
	case g.onError != "kill" && g.onError != "continue":
		return fmt.Sprintf("--on-error=%s: kill or continue", g.onError)
	case g.timeout < 0:
		return "--pie-timeout must not be negative"
	case strings.ContainsRune(g.logFile, 0):
		return "--log-file contains a NUL"
	}
	return ""
}

// run grafts in the way that the flags ask for; done says what was done.
func (g *graftFlags) run(ctx context.Context, level report.LogLevel) (done string, err error) {
	if g.remove {
		return "", g.removeGraft(ctx)
	}
	opts, err := g.options(level)
	if err != nil {
		return "", err
	}
	var plans []*graft.Plan
	switch len(g.archives) {
	case 0:
		plans, err = one(g.directory(ctx, opts))
	case 1:
		plans, err = one(graft.Archive(ctx, g.archives[0], g.out, opts))
	default:
		plans, err = graft.Archives(ctx, g.archives, g.out, opts)
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, plan := range plans {
		if len(plans) > 1 {
			fmt.Fprintf(&b, "archive %s:\n", escape.Name(g.archives[i]))
		}
		describePlan(&b, plan)
	}
	return b.String(), nil
}

func one(plan *graft.Plan, err error) ([]*graft.Plan, error) { return []*graft.Plan{plan}, err }

func (g *graftFlags) removeGraft(ctx context.Context) error {
	switch len(g.archives) {
	case 0:
		return graft.Remove(ctx, g.images, g.out)
	case 1:
		return graft.RemoveArchive(ctx, g.archives[0], g.out, g.limits.Limits)
	}
	return graft.RemoveArchives(ctx, g.archives, g.out, g.limits.Limits)
}

// describePlan says what was done.
func describePlan(b *strings.Builder, plan *graft.Plan) {
	for _, note := range plan.Notes {
		fmt.Fprintf(b, "note: %s\n", escape.Name(note))
	}
	for _, t := range plan.Provenance.Tasks {
		fmt.Fprintf(b, "grafted task %d (%s), threads: %d, at %s\n", t.Pid, escape.Name(t.Comm), t.Threads,
			t.Address)
	}
}

// directory grafts onto images in a directory, which can be incremental to others.
func (g *graftFlags) directory(ctx context.Context, opts *graft.Options) (*graft.Plan, error) {
	source, err := chain.Open(g.images, trust.Rule{Untrusted: true}) // nothing runs
	if err != nil {
		return nil, err
	}
	defer source.Close()
	all := source.FS()
	dir, err := images.Open(all[0], all[1:]...)
	if err != nil {
		return nil, err
	}
	info, err := source.Top().Stat("inventory.img") // CRIU writes it last
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	opts.DumpTime = info.ModTime()
	plan, err := graft.New(dir, opts)
	if err != nil {
		return nil, err
	}
	return plan, plan.WriteDir(ctx, g.images, g.out)
}

// options loads the plugins and reads the selectors of --task. It notes the digest of each object, by which crpie
// inspect tells what was grafted.
func (g *graftFlags) options(level report.LogLevel) (*graft.Options, error) {
	inputs, err := pluginspec.Load(g.plugins, g.untrusted.rule())
	if err != nil {
		return nil, err
	}
	opts := &graft.Options{
		Copy: g.copy, Continue: g.onError == "continue", HookTimeout: g.timeout, LogFile: g.logFile,
		LogLevel:     level,
		AllowSeccomp: g.seccomp, AllowSkipped: g.skipped, Tool: "crpie " + toolVersion(),
		Limits:   g.limits.Limits,
		OpenFile: files.OpenBelow(g.root), ResidentHooks: g.resident,
		KeepVgetrandom: g.keepRandom.VGetrandom, KeepWipeOnFork: g.keepRandom.WipeOnFork,
	}
	var errs []error
	for _, in := range inputs {
		opts.Plugins = append(opts.Plugins, graft.Plugin{Input: in, SHA256: in.Plugin.SHA256()})
	}
	for _, s := range g.tasks {
		selector, err := blob.ParseSelector(s)
		if err != nil {
			err = fmt.Errorf("--task: %w", err)
		}
		errs = append(errs, err)
		opts.Tasks = append(opts.Tasks, selector)
	}
	return opts, errors.Join(errs...)
}
