package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/scaffold"
)

const (
	newUsage = "new NAME [--lang LANGUAGE]"
	sdkUsage = "sdk [--force] DIR"
)

func newManual() *manual {
	return &manual{
		usage: newUsage,
		about: `Makes the directory NAME with a plugin that works, a unit test of it, a makefile and the SDK, and says what to do
next. It needs neither root nor criu, and the plugin needs no installed crpie to be built. What is there is not touched.`,
		examples: "crpie new hello\ncrpie new hello --lang rust",
	}
}

func runNew(args []string, std streams) int {
	f := flagSet()
	lang := f.String("lang", "c", "Write it in `LANGUAGE`: c, c++, rust or asm.")
	if status, done := parse(f, newManual(), args, std); done {
		return status
	}
	in, err := scaffold.Find(*lang)
	switch {
	case err != nil:
		return misuse(std, newUsage, "--lang: %v", err)
	case f.NArg() != 1:
		return misuse(std, newUsage, "give the name of one plugin")
	}
	if err := scaffold.New(f.Arg(0), in); err != nil {
		complain(std, err)
		return exitFailed
	}
	sayNext(std, f.Arg(0), in)
	return exitOK
}

// sayNext tells the author of a new plugin what to do.
func sayNext(std streams, dir string, in scaffold.Language) {
	fmt.Fprintf(std.out, `%s is a plugin in %s that names a process anew. Next:

    cd %[1]s
    make                                         builds hook.o
    make test                                    runs its unit tests
    crpie try ./hook.o -- cat /proc/self/comm    runs it in a program
`, escape.Name(dir), in.Long)
	if missing := notInPath(in.Tools); len(missing) > 0 {
		fmt.Fprintf(std.out, "\nmake needs what is not in PATH: %s\n", strings.Join(missing, ", "))
	}
}

func notInPath(tools []string) (missing []string) {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	return missing
}

func sdkManual() *manual {
	return &manual{
		usage: sdkUsage,
		about: `Writes what plugins are built with into DIR: headers, the Rust crate, plugin.mk and examples, of this crpie's
version. A file that is there with another content is an error, and then nothing is written.`,
		examples: "crpie sdk sdk\ncrpie sdk --force sdk",
	}
}

func runSDK(args []string, std streams) int {
	f := flagSet()
	replace := f.Bool("force", false, "Replace files of another version.")
	if status, done := parse(f, sdkManual(), args, std); done {
		return status
	}
	if f.NArg() != 1 {
		return misuse(std, sdkUsage, "give one directory")
	}
	dir := f.Arg(0)
	if err := scaffold.SDK(dir, *replace); err != nil {
		complain(std, err)
		return exitFailed
	}
	fmt.Fprintf(std.out, `%[1]s has headers, the Rust crate, plugin.mk and examples. A makefile for a plugin:

    CRPIE_PLUGIN = hook.o
    include %[1]s

`+"crpie new NAME makes a whole plugin.\n", escape.Name(filepath.Join(dir, "plugin.mk")))
	return exitOK
}
