//go:build amd64

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer"
)

const restoreUsage = `restore -D DIR [--pie-plugin hook.o[,key=value]...]... [FLAGS]

Restores the process that criu dump wrote to DIR and runs the plugins' hooks inside it before its next instruction.
Without -d, crpie waits for the process and exits with its status (128+N when signal N killed it).

Examples:
  crpie restore -D /tmp/ckpt -d --pie-plugin new-id.o,var=INSTANCE_ID
  crpie restore -D /tmp/ckpt --shell-job --pie-plugin trace.o -v4 -o restore.log
  crpie restore -D /tmp/ckpt --dry-run

Flags:`

// restoreFlags are spelled as in criu(8) where criu has them.
type restoreFlags struct {
	images, workDir, logFile, pidfile string
	plugins                           []string
	timeout                           time.Duration
	detached, stopped, shellJob       bool
	sibling                           bool
	tcpEstablished, tcpClose          bool
	extUnix                           bool
	inherit, external                 []string
	dryRun                            bool
	cgroups, validation               string
	skipRWX                           bool
	readers                           int
	verbosity                         verbosity
}

func (r *restoreFlags) register(f *pflag.FlagSet) {
	f.StringVarP(&r.images, "images-dir", "D", ".", "image `directory` that criu dump wrote")
	f.StringArrayVar(&r.plugins, "pie-plugin", nil, pluginFlagHelp)
	f.DurationVar(&r.timeout, "pie-timeout", 10*time.Second, "longest `time` that one hook may take; 0: no limit")
	f.BoolVarP(&r.detached, "restore-detached", "d", false, "do not wait for the restored process")
	f.BoolVarP(&r.sibling, "restore-sibling", "S", false, "with -d: make it a child of crpie's parent")
	f.BoolVarP(&r.stopped, "leave-stopped", "s", false, "leave it stopped (SIGSTOP)")
	f.BoolVarP(&r.shellJob, "shell-job", "j", false, "stay in this session, on this terminal")
	f.BoolP("file-locks", "l", true, "restore file locks; crpie always does, the flag is there because criu has it")
	f.BoolVar(&r.tcpEstablished, "tcp-established", false, "restore TCP connections")
	f.BoolVar(&r.tcpClose, "tcp-close", false, "leave sockets of TCP connections closed")
	f.BoolVarP(&r.extUnix, "ext-unix-sk", "x", false, "connect unix sockets to peers that were not dumped, by name")
	f.StringArrayVar(&r.inherit, "inherit-fd", nil, "`fd[N]:RESOURCE`: descriptor N takes the place of path/of/a/file, file[MNT_ID:INODE],\npipe:[INODE], socket:[INODE] or tty[RDEV:DEV] of the dump")
	f.StringArrayVar(&r.external, "external", nil, "`RESOURCE` that was dumped as external and has an --inherit-fd: file[MNT_ID:INODE],\ntty[RDEV:DEV]")
	f.StringVar(&r.validation, "file-validation", string(restorer.ByBuildID), "compare files with what they were at the dump by `METHOD`: buildid (and size) or filesize")
	f.BoolVar(&r.skipRWX, "skip-file-rwx-check", false, "do not compare the files' permissions")
	f.StringVar(&r.pidfile, "pidfile", "", "write the pid of the restored process to this `file`")
	f.StringVarP(&r.workDir, "work-dir", "W", "", "`directory` for log and pid files with relative names (default: the image directory)")
	f.StringVarP(&r.logFile, "log-file", "o", "", "write the log to this `file` instead of standard error")
	f.VarP(&r.verbosity, "verbosity", "v", "log `level`: 0 nothing, 1 errors, 2 warnings, 3 information, 4 everything; -v4 or -vvvv")
	f.Lookup("verbosity").NoOptDefVal = "+"
	f.StringVar(&r.cgroups, "manage-cgroups", "soft", "what becomes of the tasks' cgroups: `mode` ignore, none, props, soft, full or strict")
	f.Lookup("manage-cgroups").NoOptDefVal = "soft"
	f.IntVar(&r.readers, "page-readers", -1, "extra `threads` that fill the memory of large tasks (-1: one per further CPU)")
	f.BoolVar(&r.dryRun, "dry-run", false, "print the plan and create no process")
}

func runRestore(args []string, std streams) int {
	var r restoreFlags
	f := flagSet()
	r.register(f)
	if status, done := parse(f, restoreUsage, spellLevels(args), std); done {
		return status
	}
	switch {
	case f.NArg() > 0:
		return misuse(std, "restore -D DIR [FLAGS]", "unexpected argument %q", f.Arg(0))
	case r.sibling && !r.detached:
		return misuse(std, "restore -d -S -D DIR [FLAGS]", "--restore-sibling needs --restore-detached: crpie cannot wait for what is not its child")
	case !slices.Contains(restorer.CgroupModes(), restorer.CgroupMode(r.cgroups)):
		return misuse(std, "restore -D DIR [FLAGS]", "--manage-cgroups=%s: ignore, none, props, soft, full or strict", r.cgroups)
	case !slices.Contains(restorer.FileValidations(), restorer.FileValidation(r.validation)):
		return misuse(std, "restore -D DIR [FLAGS]", "--file-validation=%s: buildid or filesize", r.validation)
	}
	inherited, wrong := inheritFDs(r.inherit, r.external)
	if wrong != "" {
		return misuse(std, "restore -D DIR [FLAGS]", "%s", wrong)
	}
	status, err := r.restore(std, inherited, r.verbosity.level(f.Changed("verbosity")))
	var own *restorer.OwnIDError
	if errors.As(err, &own) && own.ID != os.Getpid() && os.Getenv(startedOver) == "" {
		err = errors.Join(err, freshThreads())
	}
	if err != nil {
		fmt.Fprintf(std.err, "crpie: %v\n", err)
		return exitFailed
	}
	return status
}

// startedOver is in the environment of a crpie that has started itself over, and must not again.
const startedOver = "CRPIE_STARTED_OVER"

// freshThreads starts this process over: execve(2) keeps its pid, but its other threads, one of which has an id that the
// restored process needs, make way for new ones, whose ids lie elsewhere: restorer.Prepare has seen to that. It returns only
// on an error.
func freshThreads() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), startedOver+"=1"))
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

func (r *restoreFlags) restore(std streams, inherited []restorer.Inherited, level uint32) (status int, err error) {
	log := newLogger(std.err, level)
	if r.logFile != "" {
		file, err := os.Create(r.inWorkDir(r.logFile))
		if err != nil {
			return 0, fmt.Errorf("log: %w", err)
		}
		defer file.Close()
		log.w = file
		defer func() {
			if err != nil {
				log.printf(1, 0, "%v", err)
			}
		}()
	}
	plugins, err := loadPlugins(r.plugins)
	if err != nil {
		return 0, err
	}
	prepared, err := restorer.Prepare(&restorer.Options{
		Images:  r.images,
		Plugins: plugins,
		Plan: restorer.PlanOptions{
			ShellJob: r.shellJob, Sibling: r.sibling, Cgroups: restorer.CgroupMode(r.cgroups), Readers: r.readers, LogLevel: level,
			TCPEstablished: r.tcpEstablished, TCPClose: r.tcpClose, ExtUnix: r.extUnix,
			Inherit: inherited, External: r.external,
			FileValidation: restorer.FileValidation(r.validation), SkipFileRWX: r.skipRWX,
		},
		Run: restorer.RunOptions{
			HookTimeout: r.timeout, LeaveStopped: r.stopped, Log: log.plugin, BeforeResume: r.writePidfile,
			Trace: func(step string) { log.printf(4, 0, "%s", step) },
		},
	})
	if err != nil {
		return 0, err
	}
	defer prepared.Close()
	if r.dryRun {
		prepared.Plan.Print(std.out)
		return exitOK, nil
	}
	pid, err := prepared.Run()
	if err != nil {
		return 0, err
	}
	log.printf(3, pid, "restored")
	if r.detached {
		return exitOK, nil
	}
	return waitFor(pid)
}

func (r *restoreFlags) writePidfile(root int) error {
	if r.pidfile == "" {
		return nil
	}
	if err := os.WriteFile(r.inWorkDir(r.pidfile), []byte(strconv.Itoa(root)), 0o644); err != nil {
		return fmt.Errorf("pidfile: %w", err)
	}
	return nil
}

// waitFor passes on how the restored process ended.
func waitFor(pid int) (status int, err error) {
	for {
		ws, err := sys.Wait(pid)
		switch {
		case err != nil:
			return 0, err
		case ws.Exited():
			return ws.ExitStatus(), nil
		case ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}

// logger writes lines as criu does: (seconds since the start) pid: text.
type logger struct {
	w     io.Writer
	level uint32
	start time.Time
}

func newLogger(w io.Writer, level uint32) *logger { return &logger{w, level, time.Now()} }

func (l *logger) printf(level uint32, pid int, format string, args ...any) {
	if level > l.level {
		return
	}
	who := ""
	if pid != 0 {
		who = fmt.Sprintf("%d: ", pid)
	}
	since := time.Since(l.start)
	fmt.Fprintf(l.w, "(%02d.%06d) %s%s\n", int(since.Seconds()), since.Microseconds()%1e6, who, fmt.Sprintf(format, args...))
}

var levelNames = [...]string{"", "Error: ", "Warn: ", "", ""}

// plugin writes what a plugin logged; it is not trusted to contain only one line.
func (l *logger) plugin(line restorer.Line) {
	level := min(max(line.Level, 1), 4)
	l.printf(level, line.Tid, "%s: %s: %s%s", line.Plugin, line.Hook, levelNames[level], printable(line.Text))
}
