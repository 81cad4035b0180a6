//go:build amd64

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/become"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer"
)

// A restore allocates more the more tasks and mappings it has, and keeps nearly all of it to its end. With this
// percentage the collector begins at 32 MB instead of 4, package runtime; the restore of fifty tasks allocates 20.
const fewCollections = 800

// runRestore runs in up to three processes. If the root task needs crpie's pid, crpie executes itself again: a process
// in between detaches the controller and ends, the controller restores, and the first process becomes the root task
// (package become).
func runRestore(args []string, std streams) int {
	if status, is := become.Detach(); is {
		return status
	}
	debug.SetGCPercent(fewCollections)
	var r restoreFlags
	f := r.usualFlags()
	err := r.read(f, args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		r.manual().print(std.out, f)
		return exitOK
	case f.Changed("version"):
		return runVersion(nil, std)
	case err != nil:
		return r.misuse(std, escape.Words(err.Error(), args...))
	}
	inherited, problems := r.check()
	if len(problems) > 0 {
		return r.misuse(std, escape.Words(strings.Join(problems, "\n"), args...))
	}
	body, err := become.Control()
	if err != nil {
		return r.fail(std, err)
	}
	status, err := r.restore(std, inherited, body)
	if _, told := err.(*toldError); err != nil && !told {
		status = r.fail(std, err)
	}
	if body != nil {
		body.End(status)
	}
	return status
}

// check says everything that is wrong with the arguments.
func (r *restoreFlags) check() (inherited []restorer.Inherited, problems []string) {
	problems = r.criuOnly.refusals()
	if wrong := r.misused(); wrong != "" {
		problems = append(problems, wrong)
	}
	if r.pauseAt != "" {
		point, err := pause.Parse(r.pauseAt)
		if err != nil {
			problems = append(problems, "--pie-pause: "+err.Error())
		}
		r.point = point
	}
	for _, fd := range r.closed {
		if sys.Inherited(fd) { // others are crpie's own
			_ = syscall.Close(fd)
		}
	}
	inherited, wrong := inheritFDs(r.inherit)
	if wrong != "" {
		problems = append(problems, wrong)
	}
	return inherited, problems
}

// inWorkDir resolves the name of a log or pid file as criu(8) does.
func (r *restoreFlags) inWorkDir(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	if r.workDir != "" {
		return filepath.Join(r.workDir, name)
	}
	return filepath.Join(r.images, name)
}

// attempt is one restore, with what it has needed so far.
type attempt struct {
	*restoreFlags
	std     streams
	relay   *relay
	log     *logger
	watched bool // somebody at a terminal reads the log
	pid     pidfile
	plugins []blob.Input
	body    *become.Root // in the controller: the process that becomes the root task
	number  int          // of the clone; 0: it is the only one
}

// restore opens the log, loads the plugins, prepares the plan and runs it. The log comes first, so that it holds every
// later error.
func (r *restoreFlags) restore(std streams, inherited []restorer.Inherited, body *become.Root) (status int, err error) {
	relay, ctx := startRelay()
	defer relay.stop()
	log, err := r.openLogger(std.err)
	if err != nil {
		return 0, err
	}
	defer func() { log.end(err) }()
	a := &attempt{restoreFlags: r, std: std, relay: relay, log: log, watched: sys.IsTerminal(syscall.Stderr),
		pid: pidfile{name: r.pidfileName()}, body: body}
	if r.clones > 0 {
		return a.restoreClones(ctx, inherited)
	}
	if a.plugins, err = pluginspec.Load(r.plugins, r.untrusted.rule()); err != nil {
		return 0, err
	}
	prepared, err := a.prepare(ctx, inherited)
	if own, ok := errors.AsType[*restorer.OwnIDError](err); ok {
		return a.startOver(own)
	}
	if err != nil {
		return 0, err
	}
	defer prepared.Close()
	a.tell(prepared)
	if r.dryRun {
		return exitOK, r.writePlan(std.out, prepared)
	}
	return a.run(ctx, prepared)
}

// tell logs what comes back otherwise than it was, and, unless nothing is to come, what may be missed.
func (a *attempt) tell(prepared *restorer.Prepared) {
	for _, note := range prepared.Notes() {
		a.log.printf(report.LogInfo, 0, "%s", note)
	}
	if a.dryRun {
		return
	}
	for _, warning := range prepared.Warnings() {
		a.log.printf(report.LogWarning, 0, "%s%s", levelNames[report.LogWarning], warning)
	}
}

// prepare plans the restore.
func (a *attempt) prepare(ctx context.Context, inherited []restorer.Inherited) (*restorer.Prepared, error) {
	opts, err := a.planned(ctx, inherited)
	if err != nil {
		return nil, err
	}
	return restorer.Prepare(opts)
}

// planned gives the options of the restore.
func (a *attempt) planned(ctx context.Context, inherited []restorer.Inherited) (*restorer.Options, error) {
	act, err := a.actions(ctx)
	if err != nil {
		return nil, err
	}
	level := a.log.level
	if a.watched {
		level = max(level, report.LogInfo) // the hint counts what is not shown
	}
	opts := a.options(a.plugins, inherited, level)
	opts.Run = a.runOptions(act)
	return opts, nil
}

// runOptions are for carrying the plan out.
func (a *attempt) runOptions(act func(restorer.Action, int) error) restorer.RunOptions {
	run := restorer.RunOptions{
		HookTimeout: a.timeout, Timeout: a.progressTimeout, LeaveStopped: a.stopped, Log: a.log.plugin,
		BeforeMaking: a.relay.await, BeforeResume: a.pid.write, Act: act,
	}
	if a.log.level >= report.LogDebug { // what is traced takes time to find out
		run.Trace = func(step string) { a.log.printf(report.LogDebug, 0, "%s", step) }
	}
	run.Diff, run.TraceCalls = a.diff, a.trace
	if a.pauseAt != "" {
		run.Pause = pauseAt(a.point, a.std.err, a.relay)
	}
	if a.body != nil {
		a.body.Listen(a.relay.got)
		run.Body, run.Failed = a.body, a.failed
	}
	return run
}

// failed tells why a restore failed, before the body ends.
func (a *attempt) failed(err error) (status int) {
	err = several.Join(err, a.pid.discard())
	if a.log.file != nil {
		a.log.printf(report.LogError, 0, "%v", err)
	}
	return a.fail(a.std, err)
}

// startOver restores by another process or thread, because a task needs an id that this one has.
func (a *attempt) startOver(own *restorer.OwnIDError) (status int, err error) {
	if err := pluginspec.GiveBack(a.plugins); err != nil {
		return 0, err
	}
	a.relay.await()
	return a.giveID(own, a.relay)
}

// run carries the plan out.
func (a *attempt) run(ctx context.Context, prepared *restorer.Prepared) (status int, err error) {
	if err := a.pid.check(); err != nil {
		return 0, err
	}
	command, err := a.lookCommand()
	if err != nil {
		return 0, err
	}
	root, err := prepared.Run(ctx)
	if a.watched {
		a.log.hint(a.std.err)
	}
	a.reportCalls(prepared, err)
	switch {
	case err != nil && a.body != nil:
		return ended.Status(err, exitFailed), &toldError{err}
	case err != nil:
		return 0, errors.Join(err, a.pid.discard())
	}
	a.log.printf(report.LogInfo, root, "restored")
	return a.follow(prepared, root, command)
}

// follow does with the restored process what the flags say: it leaves it, becomes --exec-cmd's command, or waits.
func (a *attempt) follow(prepared *restorer.Prepared, root int, command string) (status int, err error) {
	switch {
	case a.body != nil:
		a.relay.leave(root)
		return exitOK, nil
	case a.detached:
		return exitOK, nil
	case a.execCmd:
		return 0, fmt.Errorf("--exec-cmd %s: %w", a.command[0], syscall.Exec(command, a.command, environ()))
	}
	statuses, err := a.relay.waitFor(root)
	prepared.AwaitPidNamespace()
	return statuses[root], err
}

// writePlan prints the plan in the format of --format.
func (r *restoreFlags) writePlan(w io.Writer, prepared *restorer.Prepared) error {
	if r.format == "json" {
		return prepared.WritePlanJSON(w)
	}
	prepared.WritePlan(w)
	return nil
}

// options are those of the plan.
func (r *restoreFlags) options(plugins []blob.Input, inherited []restorer.Inherited,
	level report.LogLevel) *restorer.Options {
	return &restorer.Options{
		Images:         r.images,
		AllowUntrusted: bool(r.untrusted),
		Plugins:        plugins,
		Plan: restorer.PlanOptions{
			ShellJob: r.shellJob, Detached: r.detached, Sibling: r.sibling,
			NewPids: r.newPids || r.clones > 0, Clones: r.beside(),
			Cgroups: restorer.CgroupMode(r.cgroups), Readers: r.readers, LogLevel: level,
			TCPEstablished: r.tcpEstablished, TCPClose: r.tcpClose, NoLocks: !r.locks, ExtUnix: r.extUnix,
			Freebind:    r.freebind,
			CgroupRoots: r.cgroupRoots, LSMProfile: r.label, MountContext: r.mountContext,
			Inherit: inherited, External: r.external, Root: r.root, Mounts: r.mounts,
			Join: r.join, EmptyNet: r.emptyNet, ResidentHooks: r.resident,
			FileValidation: restorer.FileValidation(r.validation), SkipFileRWX: r.skipRWX,
			KeepVgetrandom: r.keepRandom.VGetrandom, KeepWipeOnFork: r.keepRandom.WipeOnFork,
		},
	}
}

// openLogger opens the files that the log goes to, and writes how it begins, unless the process before this one has.
func (r *restoreFlags) openLogger(w io.Writer) (*logger, error) {
	log, begun := newLogger(w, r.verbosity.level()), os.Getenv(startedOver) != ""
	if r.logFile != "" {
		name, beside := r.inWorkDir(r.logFile), !filepath.IsAbs(r.logFile)
		file, err := openLog(name, beside, begun)
		if err != nil {
			return nil, err
		}
		log.w, log.file = file, file
		if r.logPid {
			log.tasks = &taskLogs{name: name, beside: beside, files: map[int]*os.File{}}
		}
	}
	if !begun {
		r.begin(log)
	}
	return log, nil
}

// begin is what a log begins with.
func (r *restoreFlags) begin(log *logger) {
	for _, line := range r.preamble() {
		log.printf(report.LogDebug, 0, "%s", line)
	}
	for _, w := range r.warnings {
		log.printf(report.LogWarning, 0, "Warn: %s", w)
	}
	for _, w := range r.criuOnly.warnings() {
		log.printf(report.LogInfo, 0, "Warn: %s", w)
	}
}

// toldError is a failure that has been told already, before the body ended.
type toldError struct{ error }

// pidfileName is "" without --pidfile.
func (r *restoreFlags) pidfileName() string {
	if r.pidfile == "" {
		return ""
	}
	return r.inWorkDir(r.pidfile)
}

// preamble is what the log begins with. Of the command of --exec-cmd only the name is written, because its arguments
// are not crpie's.
func (r *restoreFlags) preamble() []string {
	arguments := r.given
	if r.execCmd {
		arguments = append(slices.Clone(arguments), "-- "+shellWords(r.command[:1]))
	}
	return append(versions(), "arguments: "+strings.Join(arguments, " "))
}

// actions makes what runs the action scripts, nil when there are none.
func (a *attempt) actions(ctx context.Context) (act func(restorer.Action, int) error, err error) {
	if len(a.scripts) == 0 {
		return nil, nil
	}
	variables, log := environ(), a.log
	if a.number > 0 {
		variables = append(variables, fmt.Sprintf("CRPIE_CLONE=%d", a.number))
	}
	scripts, err := restorer.NewScripts(a.scripts, a.inWorkDir("."), a.images, variables, log.w)
	return func(at restorer.Action, root int) error {
		log.printf(report.LogDebug, root, "running %s scripts", at)
		err := scripts.Run(ctx, at, root)
		if err != nil && at == restorer.PostResume {
			log.printf(report.LogError, root, "%v", err)
		}
		return err
	}, err
}

// lookCommand finds the program of --exec-cmd before a process exists.
func (r *restoreFlags) lookCommand() (path string, err error) {
	if !r.execCmd {
		return "", nil
	}
	if path, err = exec.LookPath(r.command[0]); err != nil {
		return "", fmt.Errorf("--exec-cmd: %w", err)
	}
	return path, nil
}

// logger writes lines as criu does: (seconds since the start) pid: text.
type logger struct {
	w     io.Writer
	level report.LogLevel
	start time.Time
	file  *os.File  // which w is, with --log-file
	tasks *taskLogs // with --log-pid

	hidden int // information of plugins that the level left out, lines
	clone  int // that lines are about; 0: there are none, or all
}

func newLogger(w io.Writer, level report.LogLevel) *logger {
	return &logger{w: w, level: level, start: time.Now()}
}

// end writes into the file why a restore failed, unless it has been told, and closes what is open.
func (l *logger) end(err error) {
	if l.file == nil {
		return
	}
	if _, told := err.(*toldError); err != nil && !told {
		l.printf(report.LogError, 0, "%v", err)
	}
	l.tasks.close()
	l.file.Close()
}

func (l *logger) printf(level report.LogLevel, pid int, format string, args ...any) {
	l.to(l.w, level, pid, format, args...)
}

// to writes a line if the level asks for it, with the pid of the task it is about.
func (l *logger) to(w io.Writer, level report.LogLevel, pid int, format string, args ...any) {
	if level > l.level {
		return
	}
	who := ""
	if pid != 0 {
		who = fmt.Sprintf("%d: ", pid)
	}
	for i, a := range args {
		if err, ok := a.(error); ok {
			args[i] = escape.Error(err)
		}
	}
	if l.clone != 0 {
		who = fmt.Sprintf("clone %d: %s", l.clone, who)
	}
	since, text := time.Since(l.start), escape.Text(fmt.Sprintf(format, args...))
	fmt.Fprintf(w, "(%02d.%06d) %s%s\n", int(since.Seconds()), since.Microseconds()%1e6, who, text)
}

var levelNames = [...]string{"", "Error: ", "Warn: ", "", ""}

// plugin writes what a plugin logged; it is not trusted to contain only one line.
func (l *logger) plugin(line report.Line) {
	level, w := line.Level, l.w
	if level == report.LogInfo && level > l.level {
		l.hidden++
	}
	if l.tasks != nil && level <= l.level {
		if f, err := l.tasks.of(line.Pid); err == nil {
			w = f
		} else {
			l.printf(report.LogError, 0, "%v", err)
		}
	}
	l.to(w, level, line.Tid, "%s: %s: %s%s", escape.Name(line.Plugin), line.Hook, levelNames[level],
		escape.Name(line.Text))
}

// forClone has the lines that follow be about a clone, whose tasks have logs of their own.
func (l *logger) forClone(number int) {
	l.clone = number
	if l.tasks != nil {
		l.tasks.close()
		l.tasks.files, l.tasks.clone = map[int]*os.File{}, fmt.Sprintf(".%d", number)
	}
}

// forAll has them be about all.
func (l *logger) forAll() { l.clone = 0 }

// hint tells somebody at a terminal how to see what the plugins logged.
func (l *logger) hint(w io.Writer) {
	switch {
	case l.hidden == 1:
		fmt.Fprintln(w, "crpie: 1 line that a plugin logged is not shown: -v3 shows it")
	case l.hidden > 1:
		fmt.Fprintf(w, "crpie: %d lines that plugins logged are not shown: -v3 shows them\n", l.hidden)
	}
}

// taskLogs are the files of --log-pid, one for each process that logs.
type taskLogs struct {
	name   string
	beside bool // see openLog
	clone  string
	files  map[int]*os.File
}

// of opens the log of a task, the first time that it has a line.
func (t *taskLogs) of(pid int) (*os.File, error) {
	if f, ok := t.files[pid]; ok {
		return f, nil
	}
	f, err := openLog(fmt.Sprintf("%s%s.%d", t.name, t.clone, pid), t.beside, false)
	if err != nil {
		return nil, err
	}
	t.files[pid] = f
	return f, nil
}

func (t *taskLogs) close() {
	if t == nil {
		return
	}
	for _, f := range t.files {
		f.Close()
	}
}
