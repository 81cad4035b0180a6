package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/crpie/crpie/internal/abi"
)

// version is set by the linker in releases (-X main.version=...).
var version = ""

func runVersion(args []string, std streams) int {
	m := manual{usage: "version", about: "Prints the version of crpie, and that of the plugin ABI."}
	f := flagSet()
	if status, done := parse(f, &m, args, std); done {
		return status
	}
	if f.NArg() > 0 {
		return misuse(std, m.usage, "version takes no arguments")
	}
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	fmt.Fprintf(std.out, "crpie %s\nplugin ABI: %d\nbuilt with: %s for %s/%s\n", v, abi.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
