package main

import (
	"errors"
	"fmt"

	"github.com/crpie/crpie/loader"
)

const checkUsage = "check [--format text|json] [--machine amd64|arm64] [--core] FILE.o..."

// checked is the verdict on one file.
type checked struct {
	file   string
	plugin *loader.Plugin // nil if it was refused
	found  *loader.Error  // nil if it was accepted
	err    error          // it could not be read
}

func runCheck(args []string, std streams) int {
	f := flagSet()
	format := f.StringP("format", "f", "text", "how to write the result: text or json")
	machine := f.StringP("machine", "m", "", "machine of the process to be restored: amd64 or arm64; default: that of each object")
	core := f.Bool("core", false, "the objects need not register hooks")
	if status, done := parse(f, checkUsage, args, std); done {
		return status
	}
	m, ok := machines[*machine]
	write, known := reports[*format]
	switch {
	case !ok:
		return misuse(std, checkUsage, "unknown machine %q", *machine)
	case !known:
		return misuse(std, checkUsage, "unknown format %q", *format)
	case f.NArg() == 0:
		return misuse(std, checkUsage, "no file given")
	}
	results := checkAll(f.Args(), loader.Options{Machine: m, Core: *core})
	if err := write(std.out, results); err != nil {
		fmt.Fprintf(std.err, "crpie: %v\n", err)
		return exitFailed
	}
	return verdict(results, std)
}

// checkAll checks every file, in the order given.
func checkAll(files []string, opts loader.Options) []checked {
	results := make([]checked, len(files))
	for i, file := range files {
		results[i] = checkOne(file, opts)
	}
	return results
}

func checkOne(file string, opts loader.Options) checked {
	c := checked{file: file}
	c.plugin, c.err = loadFile(file, opts)
	if errors.As(c.err, &c.found) {
		c.err = nil
	}
	return c
}

// verdict turns results into an exit status. Files that could not be read are complained about here, in every format.
func verdict(results []checked, std streams) int {
	status := exitOK
	for _, c := range results {
		if c.err != nil {
			fmt.Fprintf(std.err, "crpie: %v\n", c.err)
			status = exitUsage
		} else if c.found != nil && status == exitOK {
			status = exitFailed
		}
	}
	return status
}

// misuse explains a wrong command line.
func misuse(std streams, usage, format string, args ...any) int {
	fmt.Fprintf(std.err, "crpie: "+format+"\nusage: crpie "+usage+"\n", args...)
	return exitUsage
}
