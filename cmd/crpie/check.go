package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/pluginspec"
	"github.com/crpie/crpie/loader"
)

const checkUsage = "check [--format text|json|sarif|github|junit] [--source-root DIR] [--machine amd64|arm64] [--core] " +
	"FILE.o[,KEY=VALUE...]... | -"

func checkManual() *manual {
	return &manual{
		usage: checkUsage,
		about: "Tells whether objects can be PIE plugins, and for each rule that one breaks where, and what to change.\n" +
			"Parameters behind a file are checked as crpie restore --pie-plugin checks them.\n" +
			"The status is 0 if all is right, 1 if not, 2 if one could not be read.",
		examples: "crpie check hook.o\ncrpie check hook.o,var=INSTANCE_ID\ncrpie check --format sarif build/*.o",
		more:     "crpie explain CODE tells what a rule means. What checks the kernel is criu check.",
	}
}

// checked is the verdict on one file. It does not keep the plugin, whose bytes would pile up over many files.
type checked struct {
	file     string
	ok       bool
	plugin   string // name
	machine  string
	hooks    []string
	params   []loader.Param
	any      bool     // it declares no parameters and takes any
	syscalls []string // that it declares
	imports  []viewImport
	notes    []loader.Violation
	found    []loader.Violation // in file order
	omitted  int                // violations that were not kept
	err      error              // it could not be read
}

// runCheck checks all files before it writes anything: a JUnit suite begins with its counts.
func runCheck(args []string, std streams) int {
	f := flagSet()
	format := f.StringP("format", "f", "text", "Write the result as `FORMAT`: text, json, sarif, github or junit.")
	machine := f.StringP("machine", "m", "",
		"The objects have to be for `MACHINE`, amd64 or arm64; the default is that of each object.")
	core := f.Bool("core", false, "The objects need not register hooks.")
	root := f.String("source-root", "", "In sarif, github and junit, name files as `DIR` has them; the default is the closest "+
		"directory with .git, or the current one.")
	if status, done := parse(f, checkManual(), args, std); done {
		return status
	}
	m, ok := machines()[*machine]
	as, known := formats()[*format]
	switch {
	case !ok:
		return misuse(std, checkUsage, "unknown machine %q", *machine)
	case !known:
		return misuse(std, checkUsage, "unknown format %q", *format)
	case f.NArg() == 0:
		return misuse(std, checkUsage, "no file given (what checks the kernel is criu check)")
	case slices.Contains(f.Args(), stdinName) && f.NArg() > 1:
		return misuse(std, checkUsage, "standard input (-) is checked alone")
	}
	// objects are garbage as soon as they are checked; to collect them less often saves a tenth of the time
	debug.SetGCPercent(400)
	results := checkAll(f.Args(), std.in, loader.Options{Machine: m, Core: *core})
	if err := as.report(std.out, results, *root); err != nil {
		complain(std, err)
		return exitFailed
	}
	return verdict(results, std)
}

// checkAll checks the files on all processors; the results are in the order of the files.
func checkAll(files []string, stdin io.Reader, opts loader.Options) []checked {
	results := make([]checked, len(files))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
				results[i] = checkOne(files[i], stdin, opts)
			}
		})
	}
	wg.Wait()
	return results
}

// checkOne checks FILE.o or FILE.o,key=value,...
func checkOne(arg string, stdin io.Reader, opts loader.Options) checked {
	file, in, err := asked(arg)
	c := checked{file: file}
	if err == nil {
		in.Plugin, err = loadFrom(stdin, file, opts)
	}
	var all *loader.Error
	switch {
	case errors.As(err, &all):
		c.found, c.omitted = all.Violations, all.Omitted
	case err != nil:
		c.err = err
	default:
		c.describe(in.Plugin)
		if file != arg {
			c.found = wrongParams(in)
		}
		c.ok = len(c.found) == 0
	}
	detach(c.found)
	detach(c.notes)
	return c
}

// asked takes an argument apart into a file and its parameters. A comma may also be part of a file's name.
func asked(arg string) (file string, in blob.Input, err error) {
	if _, err := os.Lstat(arg); err == nil || !strings.Contains(arg, ",") {
		return arg, in, nil
	}
	file, in, err = pluginspec.Parse(arg)
	if err != nil {
		return pluginspec.WithoutValues(arg), in, err
	}
	return file, in, nil
}

// wrongParams gives each parameter that does not fit as a violation.
func wrongParams(in blob.Input) (found []loader.Violation) {
	var all *multierror.Error
	if !errors.As(pluginspec.Check(in), &all) {
		return nil
	}
	for _, err := range all.WrappedErrors() {
		found = append(found, loader.Violation{Code: loader.CodeParamValue, Message: err.Error()})
	}
	return found
}

// describe keeps what reports say of a plugin.
func (c *checked) describe(p *loader.Plugin) {
	c.notes = p.Notes
	c.plugin, c.machine = strings.Clone(p.Name), p.Machine.String()
	for _, h := range p.Hooks {
		c.hooks = append(c.hooks, h.ID.String())
	}
	c.params, c.any = p.Params, !p.DeclaresParams
	c.syscalls, c.imports = viewSyscalls(p), viewImports(p)
}

// detach makes the symbols of violations strings of their own: they are parts of the object's string table.
func detach(all []loader.Violation) {
	for i := range all {
		all[i].Symbol = strings.Clone(all[i].Symbol)
	}
}

// verdict turns results into an exit status. Files that could not be read are complained about here, in every format.
func verdict(results []checked, std streams) int {
	status := exitOK
	for _, c := range results {
		if c.err != nil {
			complain(std, c.err)
		}
	}
	if slices.ContainsFunc(results, func(c checked) bool { return c.err != nil }) {
		status = exitUsage
	} else if slices.ContainsFunc(results, func(c checked) bool { return !c.ok }) {
		status = exitFailed
	}
	return status
}

// misuse explains a wrong command line.
func misuse(std streams, usage, format string, args ...any) int {
	fmt.Fprintf(std.err, "crpie: %s\nusage: crpie %s\n", escape.Text(fmt.Sprintf(format, args...)), usage)
	return exitUsage
}

// complain writes an error for people.
func complain(std streams, err error) { fmt.Fprintf(std.err, "crpie: %s\n", escape.Error(err)) }
