//go:build linux && amd64

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/criuconf"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/trust"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/restorer"
	"github.com/crpie/crpie/swrk"
)

const restoreUsage = "restore -D DIR [--pie-plugin FILE.o[,KEY=VALUE]...]... [FLAGS]"

// restoreFlags are spelled as in criu(8) where criu has them.
type restoreFlags struct {
	images, workDir, logFile, pidfile, format string
	config                                    string
	noDefaultConfig, logPid                   bool
	plugins                                   []string
	timeout                                   time.Duration
	pauseAt                                   string
	point                                     pause.Point // of pauseAt
	progressTimeout                           time.Duration
	detached, stopped, shellJob, locks        bool
	sibling, execCmd, newPids                 bool
	clones                                    int // 0: one, that is none
	tcpEstablished, tcpClose                  bool
	extUnix, freebind                         bool
	inherit, external, scripts                []string
	root                                      string
	mounts                                    map[string]string
	closed                                    []int
	dryRun                                    bool
	diff, trace                               bool
	report                                    string
	cgroups, validation                       string
	skipRWX                                   bool
	cgroupRoots                               map[string]string
	label, mountContext, resident             string
	untrusted                                 untrusted
	join                                      map[string]string // namespaces, by their kind
	emptyNet                                  bool
	keepRandom                                renew.Keep
	readers                                   int
	verbosity                                 verbosity

	criuOnly criuOnly
	given    []string // options, as they were given
	warnings []string // about configuration files
	command  []string // of --exec-cmd
}

func (r *restoreFlags) manual() *manual {
	return &manual{
		usage: restoreUsage,
		about: `Restores the processes that criu dump wrote to DIR and runs the plugins' hooks inside them before their next
instruction. Without -d, crpie waits for the first of them and exits with its status (128+N when signal N killed it).`,
		groups: []flagGroup{
			{"Images and output", r.outputFlags},
			{"Plugins", r.pluginFlags},
			{"The restored processes", r.processFlags},
			{"Their files, sockets and cgroups", r.fileFlags},
			{"Their network namespace", r.networkFlags},
			{"How", r.runFlags},
		},
		examples: `crpie restore -D /tmp/ckpt -d --pie-plugin new-id.o,var=INSTANCE_ID
crpie restore -D /tmp/ckpt --shell-job --pie-plugin trace.o -v4 -o restore.log
crpie restore -D /tmp/ckpt --dry-run`,
		more: `A long option without argument is taken back by --no-OPTION. The other options of criu restore are accepted without
effect (-v says so), or refused with the reason. criu's configuration files are read: /etc/criu/default.conf,
$HOME/.criu/default.conf and $CRIU_CONFIG_FILE.

Exit status: 0 restored, with -d; 1 not, and nothing is left; 2 wrong arguments; 3 of --clones, some are restored and
others are not; 128+N signal N ended the restore.`,
	}
}

func (r *restoreFlags) outputFlags(f *pflag.FlagSet) {
	f.StringVarP(&r.images, "images-dir", "D", ".", "Read the images in `DIR`.")
	f.StringVarP(&r.workDir, "work-dir", "W", "",
		"Put log and pid files with relative names into `DIR`; the default is the image directory.")
	f.StringVarP(&r.logFile, "log-file", "o", "", "Write the log to `FILE` instead of standard error.")
	f.BoolVar(&r.logPid, "log-pid", false, "Write what plugins log in process PID to FILE.PID.")
	addVerbosity(f, &r.verbosity)
	f.StringVar(&r.pidfile, "pidfile", "", "Write the pid of the first restored process to `FILE`.")
	f.StringVarP(&r.format, "format", "f", "text",
		"Say why a restore failed, what --diff and --trace find, and the plan of --dry-run as `FORMAT`: text, or json on "+
			"standard output.")
	f.StringVar(&r.config, "config", "",
		"Read options from `FILE`, one per line without dashes, and none from the default files.")
	f.BoolVar(&r.noDefaultConfig, "no-default-config", false, "Read no options from the default files.")
	f.BoolP("version", "V", false, "Print version and plugin ABI.")
}

func (r *restoreFlags) pluginFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&r.plugins, "pie-plugin", nil, pluginFlagHelp)
	addResidentHooks(f, &r.resident)
	r.untrusted.add(f, "plugins, images and configuration files")
	f.DurationVar(&r.timeout, "pie-timeout", 10*time.Second, timeoutFlagHelp)
	f.StringVar(&r.pauseAt, "pie-pause", "", pauseFlagHelp)
	f.BoolVar(&r.diff, "diff", false, diffFlagHelp)
	f.BoolVar(&r.trace, "trace", false, traceFlagHelp)
	f.StringVar(&r.report, "report", "",
		"Write what --diff and --trace find to `FILE`; default: text to standard error, json to standard output.")
	f.DurationVar(&r.progressTimeout, "progress-timeout", restorer.DefaultTimeout,
		"Give up when nothing has moved for `TIME`, hooks aside.")
}

func (r *restoreFlags) processFlags(f *pflag.FlagSet) {
	f.BoolVarP(&r.detached, "restore-detached", "d", false, "Do not wait for the restored processes.")
	f.BoolVarP(&r.sibling, "restore-sibling", "S", false, "With -d: make the first a child of crpie's parent.")
	f.BoolVar(&r.execCmd, "exec-cmd", false,
		"Run the command after -- in crpie's place, as the parent of the restored processes.")
	f.BoolVar(&r.newPids, "new-pids", false,
		"Give them a pid namespace of their own, where they have the pids that they had, whoever has those outside.")
	f.Func("clones", "Restore `N` times, each in a pid namespace of its own. In paths and plugins' values %n is the "+
		"clone's number, from 1 on; %% is %.", r.setClones)
	f.BoolVarP(&r.stopped, "leave-stopped", "s", false, "Leave them stopped (SIGSTOP).")
	f.BoolVarP(&r.shellJob, "shell-job", "j", false, "Stay in this session, on this terminal.")
}

func (r *restoreFlags) fileFlags(f *pflag.FlagSet) {
	f.BoolVarP(&r.locks, "file-locks", "l", true,
		"Restore file locks; crpie does so by itself, --no-file-locks leaves them.")
	f.BoolVar(&r.tcpEstablished, "tcp-established", false, "Restore TCP connections.")
	f.BoolVar(&r.tcpClose, "tcp-close", false, "Leave sockets of TCP connections closed.")
	f.VarPF((*externSockets)(&r.extUnix), "ext-unix-sk", "x",
		"Connect unix sockets to peers that were not dumped, by name.").NoOptDefVal = "true"
	f.BoolVar(&r.freebind, "freebind", false,
		"Restore IPv4 sockets whose address this host lacks; nobody reaches them until it has it.")
	f.StringArrayVar(&r.inherit, "inherit-fd", nil,
		"With `fd[N]:RESOURCE`, put descriptor N in the place of RESOURCE: path/of/a/file, "+
			"file[MNT_ID:INODE], pipe:[INODE], socket:[INODE] or tty[RDEV:DEV] of the dump.")
	f.Var(&externalFlag{r}, "external",
		"`RESOURCE` was dumped as external: file[MNT_ID:INODE] and tty[RDEV:DEV] have an --inherit-fd, "+
			"mnt[KEY]:PATH is mounted from PATH; net[KEY]:PATH, veth[NAME]:NAME[@BRIDGE] and macvlan[NAME]:NAME "+
			"say what takes its place.")
	f.StringVarP(&r.root, "root", "r", "", "Make `DIR` the root of tasks that had a mount namespace of their own.")
	f.FuncP("ext-mount-map", "M", "`KEY:PATH` is --external mnt[KEY]:PATH.", r.extMountMap)
	f.StringVar(&r.validation, "file-validation", string(restorer.ByBuildID),
		"Compare files with what they were at the dump by `METHOD`: buildid (and size) or filesize.")
	f.BoolVar(&r.skipRWX, "skip-file-rwx-check", false, "Do not compare the files' permissions.")
	addKeepRandom(f, &r.keepRandom)
	f.Func("close", "Close descriptor `N` first; may be given several times.", r.closeFD)
	f.StringVar(&r.cgroups, "manage-cgroups", "soft",
		"What becomes of the tasks' cgroups: `MODE` ignore, none, props, soft, full or strict.")
	f.Lookup("manage-cgroups").NoOptDefVal = "soft"
	f.Func("cgroup-root", "Restore the topmost cgroups of the dump as `[CONTROLLER:]/PATH`; without a controller, those of all others.", r.cgroupRoot)
	f.Func("lsm-profile", "Give the tasks the security label `TYPE:NAME` (apparmor or selinux), which crpie must have itself.", r.lsmProfile)
	f.Func("lsm-mount-context", "Give mounts that had a security label, option context, the label `CONTEXT` (SELinux).",
		r.lsmMountContext)
}

func (r *restoreFlags) runFlags(f *pflag.FlagSet) {
	f.IntVar(&r.readers, "page-readers", -1,
		"Fill the memory of a task with up to `N` more threads (-1, the default: one per further CPU).")
	f.StringArrayVar(&r.scripts, "action-script", nil,
		"Run `SCRIPT` before, during and after the restore, with CRTOOLS_SCRIPT_ACTION set; "+
			"may be given several times. One that fails undoes the restore.")
	f.BoolVar(&r.dryRun, "dry-run", false, "Print a summary and the plan, and create no process.")
}

// negatable are the flags that criu(8) takes back by --no-FLAG.
var negatable = []string{"restore-detached", "restore-sibling", "daemon", "tcp-established", "tcp-close", "log-pid",
	"shell-job",
	"file-locks", "skip-file-rwx-check", "new-pids"}

// parse is f.ParseAll. What only criu has, half of all flags, is added when something is not known: few restores name
// one.
func (r *restoreFlags) parse(f *pflag.FlagSet, words []string, set func(flag *pflag.Flag, value string) error) error {
	if f.ParseAll(words, func(*pflag.Flag, string) error { return nil }) != nil {
		r.criuOnly.add(f)
	}
	return f.ParseAll(words, set)
}

// usualFlags are those that do something.
func (r *restoreFlags) usualFlags() *pflag.FlagSet {
	f := flagSet()
	for _, g := range r.manual().groups {
		g.register(f)
	}
	hidden := func(v pflag.Value, name, short string) {
		flag := f.VarPF(v, name, short, "")
		flag.Hidden, flag.NoOptDefVal = true, "true"
	}
	hidden(f.Lookup("restore-detached").Value, "daemon", "")
	hidden(opposite{f.Lookup("leave-stopped").Value}, "leave-running", "R")
	for _, name := range negatable {
		hidden(opposite{f.Lookup(name).Value}, "no-"+name, "")
	}
	return f
}

// opposite takes a flag back.
type opposite struct{ pflag.Value }

// Set gives the value of a flag that another flag negates.
func (o opposite) Set(s string) error {
	given, err := strconv.ParseBool(s)
	if err != nil {
		return err
	}
	return o.Value.Set(strconv.FormatBool(!given))
}

// externSockets is -x, to which criu 1.8 and before gave inode numbers.
type externSockets bool

func (x *externSockets) String() string     { return strconv.FormatBool(bool(*x)) }
func (x *externSockets) Type() string       { return "bool" }
func (x *externSockets) Set(s string) error { *x = s != "false"; return nil }

// externalFlag is what was dumped with --external.
type externalFlag struct{ r *restoreFlags }

func (x *externalFlag) String() string { return "" }
func (x *externalFlag) Type() string   { return "string" }

// isExternalFile accepts file[MNT_ID:INODE] and tty[RDEV:DEV], numbers in hexadecimal.
func isExternalFile(s string) bool {
	const hexadecimal = digits + "abcdef"
	kind, rest, _ := strings.Cut(s, "[")
	ids, closed := strings.CutSuffix(rest, "]")
	first, second, two := strings.Cut(ids, ":")
	return oneOf("file", "tty")(kind) && closed && two && first != "" && second != "" &&
		consists(first+second, hexadecimal)
}

// isExternalNetwork accepts net[KEY]:PATH, and links.
func isExternalNetwork(s string) bool {
	kind, rest, _ := strings.Cut(s, "[")
	key, value, closed := strings.Cut(rest, "]:")
	return oneOf("net", "veth", "macvlan")(kind) && closed && key != "" && !strings.Contains(key, "]") && value != ""
}

// Set reads an argument of --external. A kind that only criu restores is kept with the options that are for criu alone.
func (x *externalFlag) Set(s string) error {
	kind, _, _ := strings.Cut(s, "[")
	option := criuOption{names: "external"}
	key, path, isMount := strings.Cut(strings.TrimPrefix(s, "mnt["), "]:")
	switch {
	case isMount && kind == "mnt" && key != "" && path != "":
		x.r.mapMount(key, path)
		return nil
	case isExternalFile(s), isExternalNetwork(s):
		x.r.external = append(x.r.external, s)
		return nil
	case kind == "unix":
		option.why = forDump
	case strings.Contains(s, "]") && whyNotExternal(kind) != "":
		option.fate, option.why, option.hint = containers, whyNotExternal(kind), useGraft
		if kind == "mnt" {
			option.hint = sayMounts
		}
	default:
		return errors.New("want file[MNT_ID:INODE], tty[RDEV:DEV], mnt[KEY]:PATH, net[KEY]:PATH, " +
			"veth[NAME]:NAME[@BRIDGE] or macvlan[NAME]:NAME")
	}
	x.r.criuOnly.use(&option, "--external="+escape.Name(s), s)
	return nil
}

// whyNotExternal says why resources of a kind are refused; "": criu does not know the kind.
func whyNotExternal(kind string) string {
	switch kind {
	case "mnt":
		return whenAuto
	case "dev":
		return "crpie mounts no block devices"
	case "netdev":
		return "crpie moves no links into network namespaces"
	case "pid":
		return "crpie puts no tasks into somebody else's pid namespace"
	}
	return ""
}

// mapMount says what is mounted from the host where something was that has a key in the images.
func (r *restoreFlags) mapMount(key, path string) {
	if r.mounts == nil {
		r.mounts = map[string]string{}
	}
	r.mounts[key] = path
}

// extMountMap is criu's older spelling of that; with auto criu guesses.
func (r *restoreFlags) extMountMap(s string) error {
	key, path, ok := strings.Cut(s, ":")
	switch {
	case s == "auto":
		r.criuOnly.use(&criuOption{names: "ext-mount-map", fate: containers, why: whenAuto, hint: sayMounts},
			"--ext-mount-map=auto", s)
	case !ok || key == "" || path == "":
		return errors.New("want KEY:PATH")
	default:
		r.mapMount(key, path)
	}
	return nil
}

// closeFD closes a descriptor with which crpie was started, so that a reader at its other end sees its end.
func (r *restoreFlags) closeFD(s string) error {
	fd, err := strconv.Atoi(s)
	if err != nil || fd < 0 {
		return errors.New("want the number of a descriptor")
	}
	r.closed = append(r.closed, fd)
	return nil
}

// cgroupRoot takes a root for one controller, or for all others. criu(8) allows several; of two for the same controller
// the later one holds.
func (r *restoreFlags) cgroupRoot(s string) error {
	controller, root, err := restorer.ParseCgroupRoot(s)
	if err != nil {
		return err
	}
	if r.cgroupRoots == nil {
		r.cgroupRoots = map[string]string{}
	}
	r.cgroupRoots[controller] = root
	return nil
}

func (r *restoreFlags) lsmProfile(s string) error {
	kind, name, _ := strings.Cut(s, ":")
	if kind != "apparmor" && kind != "selinux" || name == "" {
		return errors.New("want apparmor:NAME or selinux:NAME")
	}
	r.label = name
	return nil
}

func (r *restoreFlags) lsmMountContext(s string) error {
	if r.mountContext = strings.Trim(s, `"`); r.mountContext == "" {
		return errors.New("want a label, as system_u:object_r:container_file_t:s0:c1,c2")
	}
	return nil
}

// setting is a flag of the command line with its value.
type setting struct {
	flag  *pflag.Flag
	value string
}

// given is an option as it was given, escaped for a log.
func given(name, value string) string {
	if name == "pie-plugin" {
		value = pluginspec.WithoutValues(value)
	}
	if value == nothing {
		return "--" + name
	}
	return fmt.Sprintf("--%s=%s", name, shellWords([]string{value}))
}

// read takes in configuration files and the command line, whose word holds.
func (r *restoreFlags) read(f *pflag.FlagSet, args []string) error {
	var line []setting
	var trusting untrusted
	search := criuconf.Search{Secure: sys.Secure(), Getenv: os.Getenv}
	err := r.parse(f, spellLevels(args), func(flag *pflag.Flag, value string) error {
		line = append(line, setting{flag, value})
		switch flag.Name {
		case "config":
			search.Config = value
		case "no-default-config":
			search.NoDefault = value == "true"
		case untrustedName:
			trusting = value == "true"
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.command = f.Args()
	err = r.configure(f, &search, trusting.rule())
	for _, s := range line {
		r.given = append(r.given, given(s.flag.Name, s.value))
		err = errors.Join(err, f.Set(s.flag.Name, s.value))
	}
	return err
}

// configure reads criu's configuration files.
func (r *restoreFlags) configure(f *pflag.FlagSet, search *criuconf.Search, rule trust.Rule) error {
	var errs []error
	for _, file := range search.Files() {
		text, err := readConfig(file, rule)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		statements, problems := criuconf.Parse(file.Name, text)
		for _, p := range problems {
			errs = append(errs, errors.New(p))
		}
		for _, s := range statements {
			errs = append(errs, r.state(f, &s))
		}
	}
	r.criuOnly.source = ""
	return errors.Join(errs...)
}

// readConfig reads a configuration file of criu.
func readConfig(file criuconf.File, rule trust.Rule) (string, error) {
	text, distrust, err := criuconf.Read(file.Name, rule)
	if errors.Is(err, os.ErrNotExist) && !file.Required {
		return "", nil
	}
	if err = cmp.Or(distrust, err); err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	return text, nil
}

// state sets what one line of a configuration file says.
func (r *restoreFlags) state(f *pflag.FlagSet, s *criuconf.Statement) error {
	r.criuOnly.source = s.Source
	if name, _, _ := s.Option(); swrk.OnlyForRuntimes(name) {
		r.criuOnly.use(&criuOption{names: name, why: "it is for crpie swrk"}, "--"+name, "")
		return nil
	}
	err := r.parse(f, s.Words, func(flag *pflag.Flag, value string) error {
		r.given = append(r.given, s.Source+": "+given(flag.Name, value))
		return f.Set(flag.Name, value)
	})
	if errors.Is(err, pflag.ErrHelp) || err == nil && (f.Changed("version") || f.Changed("exec-cmd")) {
		err = fmt.Errorf("%s: only on the command line", s.Words[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Source, err)
	}
	if f.NArg() > 0 { // an argument that may be left away has to be attached, getopt_long(3)
		r.warnings = append(r.warnings,
			fmt.Sprintf("%s: %q is ignored, as by criu: write an argument that may be left away as %s=%s",
				s.Source, f.Arg(0), strings.TrimPrefix(s.Words[0], "--"), escape.Name(f.Arg(0))))
	}
	return nil
}

// misused names the first combination of flags that cannot be.
func (r *restoreFlags) misused() string {
	switch {
	case len(r.command) > 0 && !r.execCmd:
		return fmt.Sprintf("unexpected argument %q", r.command[0])
	case r.execCmd && len(r.command) == 0:
		return "--exec-cmd needs a command after --"
	case r.execCmd && r.detached:
		return "--exec-cmd and --restore-detached exclude each other: the command is the parent of what is restored"
	case r.sibling && !r.detached:
		return "--restore-sibling needs --restore-detached: crpie cannot wait for what is not its child"
	case r.logPid && r.logFile == "":
		return "--log-pid needs --log-file, after which the files are named"
	case r.pauseAt != "" && r.watches():
		return "--pie-pause lets a debugger look, --diff and --trace look themselves: give one of them"
	case r.report != "" && !r.watches():
		return "--report needs --diff or --trace"
	case r.dryRun && r.watches():
		return "--diff and --trace need hooks that run, and --dry-run runs none"
	case r.format != "text" && r.format != "json":
		return fmt.Sprintf("unknown format %q", r.format)
	case !slices.Contains(restorer.CgroupModes(), restorer.CgroupMode(r.cgroups)):
		return fmt.Sprintf("--manage-cgroups=%s: ignore, none, props, soft, full or strict", r.cgroups)
	case !slices.Contains(restorer.FileValidations(), restorer.FileValidation(r.validation)):
		return fmt.Sprintf("--file-validation=%s: buildid or filesize", r.validation)
	}
	return r.misusedClones()
}
