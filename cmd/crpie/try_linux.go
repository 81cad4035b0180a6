//go:build amd64

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/inject"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer"
	"github.com/crpie/crpie/stage"
)

const tryUsage = "try [FLAGS] FILE.o[,KEY=VALUE]... -- PROGRAM [ARGUMENT]... | -p PID [FLAGS] FILE.o[,KEY=VALUE]..."

// tryFlags are those of crpie try.
type tryFlags struct {
	at, format, output string
	pauseAt, resident  string
	leave              string
	point              pause.Point // of pauseAt
	stages             []string
	pid                int
	tree, trace        bool
	rehearse, diff     bool
	stopTimeout        time.Duration
	timeout            time.Duration
	untrusted          untrusted
	verbosity          verbosity
}

func (r *tryFlags) flags() *pflag.FlagSet {
	f := flagSet()
	f.StringVar(&r.at, "at", "main",
		"Stop the program at `MOMENT`: entry (before its first own instruction), main, a time like 500ms, "+
			"signal:NAME (before it is delivered), function:NAME, output:TEXT (after it has written this).")
	f.IntVarP(&r.pid, "pid", "p", 0,
		"Run the hooks in process `PID`, which runs, instead of a program that is started.")
	f.BoolVar(&r.tree, "tree", false, "With -p: also in all descendants of the process.")
	f.StringSliceVar(&r.stages, "stages", nil,
		"Run only the hooks of `STAGE,...`: PRE_SIGRETURN or the whole name; default: those of all that a restore has.")
	f.StringVar(&r.leave, "leave", "",
		"With -p: leave the processes `STATE`: running, frozen (in their cgroup, for criu dump --freeze-cgroup) or stopped "+
			"(by SIGSTOP); default: as they were, with --stages pre-dump frozen, with resumed running.")
	f.BoolVar(&r.rehearse, "rehearse", false,
		"With -p: run the hooks in a copy of the process, which goes on meanwhile; implies --diff.")
	f.BoolVar(&r.diff, "diff", false, diffFlagHelp)
	f.BoolVar(&r.trace, "trace", false, traceFlagHelp)
	f.DurationVar(&r.timeout, "pie-timeout", 10*time.Second, timeoutFlagHelp)
	r.untrusted.add(f, "plugins")
	f.StringVar(&r.pauseAt, "pie-pause", "", pauseFlagHelp)
	addResidentHooks(f, &r.resident)
	f.DurationVar(&r.stopTimeout, "progress-timeout", inject.DefaultStopTimeout,
		"Give up if a thread has not stopped after `TIME`; the process goes on.")
	f.StringVarP(&r.format, "format", "f", "text", "Write what the hooks did as `FORMAT`, text or json.")
	f.StringVarP(&r.output, "output", "o", "",
		"Write it to `FILE`; default: text to standard error, json to standard output.")
	addVerbosityFrom(f, &r.verbosity, verbosity(report.LogInfo)) // an author wants to see what the plugin says
	return f
}

func tryManual() *manual {
	return &manual{
		usage: tryUsage,
		about: `Runs the hooks of plugins in a live process, which then goes on as if nothing had happened: in a program that is
started, as any user, or in a process that runs. No checkpoint, no criu. Hooks of all stages run in the order of a restore,
those of early stages in the process as it is. The status is the program's; if a hook fails the program is killed, and the
status is 1. A process that was running (-p) is never killed, whatever the hook did.`,
		examples: "crpie try hook.o -- python3 service.py\ncrpie try --at output:ready new-id.o,var=ID -- ./server\n" +
			"crpie try -p 4711 hook.o\ncrpie try --at 2s -f json -o report.json hook.o -- ./server",
	}
}

// runTry splits the words at --: those before name plugins, those behind it are the program and its arguments.
func runTry(args []string, std streams) int {
	var r tryFlags
	f := r.flags()
	if status, done := parse(f, tryManual(), spellLevels(args), std); done {
		return status
	}
	plugins, program := f.Args(), []string(nil)
	if n := f.ArgsLenAtDash(); n >= 0 {
		plugins, program = f.Args()[:n], f.Args()[n:]
	}
	opts, at, wrong := r.check(f, plugins, program)
	if wrong != "" {
		return r.misuse(std, wrong)
	}
	log := newLogger(std.err, r.verbosity.level())
	opts.Log, opts.LogLevel = log.plugin, r.verbosity.level()
	var err error
	if opts.Plugins, err = pluginspec.Load(plugins, r.untrusted.rule()); err != nil {
		return r.fail(std, nil, err)
	}
	if program == nil {
		return r.attach(opts, std)
	}
	return r.spawn(opts, program, at, std)
}

// check says what is wrong with the arguments.
func (r *tryFlags) check(f *pflag.FlagSet, plugins, program []string) (opts *inject.Options, at inject.Moment,
	wrong string) {
	var problems []string
	opts = &inject.Options{HookTimeout: r.timeout, StopTimeout: r.stopTimeout, Trace: r.trace,
		Diff: r.diff || r.rehearse, Rehearse: r.rehearse, ResidentHooks: r.resident}
	at, err := inject.ParseMoment(r.at)
	if err != nil {
		problems = append(problems, "--at "+err.Error())
	}
	for _, name := range r.stages {
		s, err := stage.ParseShort(name)
		if err != nil {
			problems = append(problems, "--stages: "+err.Error())
		}
		opts.Stages = append(opts.Stages, s)
	}
	if opts.Leave, err = r.leaves(opts.Stages); err != nil {
		problems = append(problems, err.Error())
	}
	if r.pauseAt != "" {
		if r.point, err = pause.Parse(r.pauseAt); err != nil {
			problems = append(problems, "--pie-pause: "+err.Error())
		}
	}
	given := f.Changed("pid")
	for _, p := range []struct {
		wrong bool
		text  string
	}{
		{len(plugins) == 0 && r.resident == "", "give the object of a plugin, or --resident-hooks"},
		{given && r.pid <= 0, fmt.Sprintf("-p %d is no process", r.pid)},
		{given && program != nil, "give -p PID or -- PROGRAM, not both"},
		{!given && len(program) == 0, "give -- PROGRAM, or -p PID"},
		{given && f.Changed("at"), "--at is about a program that is started, -p about one that runs"},
		{!given && r.tree, "--tree needs -p PID"},
		{!given && r.leave != "", "--leave needs -p PID"},
		{!given && slices.ContainsFunc(opts.Stages, stage.Stage.OfDump), "hooks around a dump need -p PID"},
		{r.rehearse && r.leave != "", "--leave is about the process, --rehearse leaves it alone"},
		{!given && r.rehearse, "--rehearse needs -p PID: a program that is started for this needs no rehearsal"},
		{r.timeout < 0, "--pie-timeout is less than 0"},
		{r.stopTimeout <= 0, "--progress-timeout is not more than 0"},
		{r.format != "text" && r.format != "json", fmt.Sprintf("unknown format %q", r.format)},
	} {
		if p.wrong {
			problems = append(problems, p.text)
		}
	}
	return opts, at, strings.Join(problems, "\n")
}

// leaves says what becomes of the processes. A dump is of the whole tree, and finds it standing.
func (r *tryFlags) leaves(stages []stage.Stage) (inject.Leave, error) {
	known := map[string]inject.Leave{"running": inject.Running, "frozen": inject.Frozen, "stopped": inject.Stopped}
	leave, ok := known[r.leave]
	r.tree = r.tree || r.pid != 0 && slices.ContainsFunc(stages, stage.Stage.OfDump)
	switch {
	case ok:
		return leave, nil
	case r.leave != "":
		return 0, fmt.Errorf("unknown state %q: --leave running, frozen or stopped", r.leave)
	case r.rehearse:
	case slices.Contains(stages, stage.PreDump):
		return inject.Frozen, nil
	case slices.Contains(stages, stage.Resumed):
		return inject.Running, nil
	}
	return inject.AsFound, nil
}

// pause makes what has a hook wait for a debugger, where --pie-pause says so.
func (r *tryFlags) pause(std streams, signals *relay) *pause.Options {
	if r.pauseAt == "" {
		return nil
	}
	return pauseAt(r.point, std.err, signals)
}

// attach runs the hooks in a process that is not crpie's child. Its exit status belongs to its parent, wait(2), so
// crpie's own says only whether the hooks succeeded.
func (r *tryFlags) attach(opts *inject.Options, std streams) int {
	opts.Pause = r.pause(std, nil)
	var done *inject.Report
	err := ended.Until(func(ctx context.Context) (err error) {
		done, err = inject.Attach(ctx, r.pid, r.tree, opts)
		return err
	})
	if err != nil {
		return r.fail(std, done, err)
	}
	if err := r.report(std, done, nil); err != nil {
		complain(std, err)
		return exitFailed
	}
	return exitOK
}

// spawn runs the hooks in a program, then passes signals on to it and exits with its status. A report that cannot be
// written does not stop the program.
func (r *tryFlags) spawn(opts *inject.Options, program []string, at inject.Moment, std streams) int {
	path, err := exec.LookPath(program[0])
	if err != nil {
		return r.fail(std, nil, err)
	}
	relay, ctx := startRelay()
	defer relay.stop()
	relay.await()
	opts.Pause = r.pause(std, relay)
	pid, done, err := inject.Spawn(ctx, &inject.Program{Path: path, Args: program, Env: os.Environ(), At: at}, opts)
	if err != nil {
		return r.fail(std, done, err)
	}
	if err := r.report(std, done, nil); err != nil {
		complain(std, err)
	}
	statuses, err := relay.waitFor(pid)
	if err != nil {
		return r.fail(std, nil, err)
	}
	return statuses[pid]
}

// tryReport is the JSON document; schema_version changes when a member changes its meaning or goes.
type tryReport struct {
	SchemaVersion int               `json:"schema_version"`
	OK            bool              `json:"ok"`
	Processes     []*inject.Process `json:"processes"`
	Failure       *restorer.Failure `json:"failure,omitempty"`
}

// newTryReport has what the hooks did, which ran until a failure, if there is one.
func newTryReport(processes []*inject.Process, failure error) tryReport {
	doc := tryReport{SchemaVersion: 1, OK: failure == nil, Processes: []*inject.Process{}}
	if processes != nil {
		doc.Processes = processes
	}
	if failure != nil {
		described := restorer.Describe(failure)
		doc.Failure = &described
	}
	return doc
}

func (r *tryFlags) misuse(std streams, text string) int { return misuse(std, tryUsage, "%s", text) }

// fail reports what has failed, and what ran until then.
func (r *tryFlags) fail(std streams, done *inject.Report, err error) int {
	status := ended.Status(err, exitFailed)
	if r.format == "json" || done != nil && len(done.Processes) > 0 {
		if failed := r.report(std, done, err); failed != nil {
			complain(std, failed)
		}
	}
	if r.format != "json" {
		complain(std, err)
	}
	return status
}

// report writes what the hooks did.
func (r *tryFlags) report(std streams, done *inject.Report, failure error) error {
	var processes []*inject.Process
	if done != nil {
		processes = done.Processes
	}
	doc := newTryReport(processes, failure)
	write, to := func(w io.Writer) error { return writeTried(w, doc.Processes) }, std.err
	if r.format == "json" {
		write, to = func(w io.Writer) error { return writeJSON(w, doc) }, std.out
	}
	if r.output == "" {
		return write(to)
	}
	f, err := os.OpenFile(r.output, os.O_RDWR|os.O_CREATE|os.O_TRUNC, r.outputMode())
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// outputMode is the mode of a new report. One with memory of the process is its user's alone.
func (r *tryFlags) outputMode() os.FileMode {
	if r.diff || r.rehearse {
		return 0o600
	}
	return 0o666
}

// writeTried writes it for people.
func writeTried(to io.Writer, processes []*inject.Process) error {
	w := bufio.NewWriter(to)
	for _, p := range processes {
		fmt.Fprintf(w, "process %d %q, %s", p.Pid, escape.Name(p.Comm), count(p.Threads, "thread"))
		if p.At != "" {
			fmt.Fprintf(w, ", at %s", escape.Name(p.At))
		}
		if p.Paused != 0 {
			fmt.Fprintf(w, ", stopped for %v%s", p.Paused.Round(time.Microsecond), rehearsed(p))
		}
		fmt.Fprintln(w)
		for _, note := range p.Notes {
			fmt.Fprintf(w, "  note: %s\n", escape.Name(note))
		}
		for _, c := range p.Calls {
			writeCall(w, c)
		}
		writeDiff(w, p.Diff)
	}
	return w.Flush()
}

func rehearsed(p *inject.Process) string {
	if p.Rehearsed {
		return ", and not changed: the hooks ran in a copy"
	}
	return ""
}

// writeCall writes what a hook did and how long it took.
func writeCall(w io.Writer, c *inject.Call) {
	result := fmt.Sprintf("returned %d", c.Result)
	switch {
	case c.Failed:
		result = "failed"
	case c.Skipped:
		result = "not for this task"
	case c.Stage == stage.Exit:
		result = "returned"
	}
	early := ""
	if c.Early {
		early = ", in the process as it is"
	}
	fmt.Fprintf(w, "  %s: %s, thread %d: %s after %v%s\n", escape.Name(c.Plugin), c.Stage.Call(), c.Tid, result,
		c.Took.Round(time.Microsecond), early)
	for _, s := range c.Syscalls {
		fmt.Fprintf(w, "    %s\n", escape.Name(s.String()))
	}
	if c.Untraced > 0 {
		fmt.Fprintf(w, "    and %d more\n", c.Untraced)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
