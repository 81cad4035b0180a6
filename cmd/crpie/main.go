// Command crpie checks PIE plugins and restores CRIU checkpoints with them.
//
// Each subcommand is one file. Nothing a library user would miss lives here.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/escape"
)

func main() { os.Exit(runNamed(os.Args)) }

// runNamed runs crpie, or the front of criu if it was started under the name criu.
func runNamed(argv []string) int {
	if filepath.Base(argv[0]) == "criu" {
		return asCRIU(argv[1:], streams{os.Stdin, os.Stdout, escape.Writer(os.Stderr)})
	}
	return run(argv[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Exit statuses: what was asked for holds, it does not, the question was wrong.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one subcommand. run gets the arguments after its name.
type command struct {
	name    string
	args    string // for the usage line
	summary string
	run     func(args []string, std streams) int
}

// commands are listed in this order by crpie help.
func commands() []command {
	return []command{
		{"check", "[FLAGS] FILE.o...", "tell whether objects can be PIE plugins, and what to change if not",
			atOnce(runCheck)},
		{"inspect", "[FLAGS] FILE.o | -D DIR",
			"show hooks, sections, symbols and relocations of an object; tasks and memory of images",
			atOnce(runInspect)},
		{"restore", "-D DIR [FLAGS]", "restore processes from the images of criu dump, running plugins inside them", runRestore},
		{"graft", "-D DIR -o DIR [FLAGS]",
			"write images that any criu restores with plugins running inside the process", runGraft},
		{"try", "[FLAGS] FILE.o... -- PROGRAM... | -p PID [FLAGS] FILE.o...",
			"run plugins inside a program that is started, or a process that runs", runTry},
		{"new", "NAME [--lang LANGUAGE]", "make a directory with a plugin that works, its test and the SDK",
			runNew},
		{"sdk", "[--force] DIR", "write headers, Rust crate, plugin.mk and examples", runSDK},
		{"link", "[FLAGS] FILE.o", "place an object at an address and write its memory and map", runLink},
		{"swrk", "FD", "stand in front of criu for a container runtime, which starts it", runSwrk},
		{"doctor", "[FLAGS] [DIR...]", "check whether this machine is set up to restore containers", runDoctor},
		{"explain", "[CODE...]", "tell what a rule of crpie check means, and how to keep it", runExplain},
		{"version", "", "print version and plugin ABI", runVersion},
	}
}

// atOnce is a command that only reads, perhaps from a slow writer.
func atOnce(run func(args []string, std streams) int) func(args []string, std streams) int {
	return func(args []string, std streams) int {
		return ended.AtOnce(func() int { return run(args, std) })
	}
}

// streams are the standard streams of the process, or a test's.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is crpie without the process around it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stderr = escape.Writer(stderr)
	std := streams{stdin, stdout, stderr}
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], std)
		}
	}
	switch args[0] {
	case "help", "-h", "--help":
		return help(args[1:], std)
	case "-V", "--version":
		return runVersion(nil, std)
	}
	if why, ok := criuCommands()[args[0]]; ok {
		return leaveToCRIU(why, args, std)
	}
	fmt.Fprintf(stderr, "crpie: unknown command %q\nTry: crpie help\n", args[0])
	return exitUsage
}

// help lists the commands, or is --help of those that are named.
func help(names []string, std streams) int {
	if len(names) == 0 {
		usage(std.out)
		return exitOK
	}
	status := exitOK
	for _, name := range names {
		status = max(status, run([]string{name, "--help"}, std.in, std.out, std.err))
	}
	return status
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: crpie COMMAND [ARGUMENTS]")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "crpie COMMAND --help tells about one of them.")
}

// flagSet makes the empty flags of a subcommand; errors and help are parse's.
func flagSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard)
	return f
}

// parse reads the flags of a subcommand. done means that there is nothing left to do but exit with status.
func parse(f *pflag.FlagSet, m *manual, args []string, std streams) (status int, done bool) {
	err := f.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		m.print(std.out, f)
		return exitOK, true
	case err != nil:
		return misuse(std, m.usage, "%s", escape.Words(err.Error(), args...)), true
	}
	return 0, false
}
