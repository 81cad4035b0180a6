package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/crpie/crpie/internal/abi"
)

// version is set by the linker in releases (-X main.version=...).
var version = ""

func runVersion(args []string, std streams) int {
	m := manual{usage: "version", about: "Prints the versions of crpie and of the plugin ABI."}
	f := flagSet()
	if status, done := parse(f, &m, args, std); done {
		return status
	}
	if f.NArg() > 0 {
		return misuse(std, m.usage, "version takes no arguments")
	}
	fmt.Fprintln(std.out, strings.Join(versions(), "\n"))
	return exitOK
}

// versions are what a report of a fault has to begin with.
func versions() []string {
	return []string{
		"crpie " + toolVersion(),
		fmt.Sprintf("plugin ABI: %d", abi.Version),
		fmt.Sprintf("built with: %s for %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
	}
}

// toolVersion returns the release's version, or else the module's.
func toolVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(devel)" // a build without modules
}
