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
	if len(args) > 0 {
		fmt.Fprintf(std.err, "crpie: version takes no arguments\n")
		return exitUsage
	}
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	fmt.Fprintf(std.out, "crpie %s\nplugin ABI: %d\nbuilt with: %s for %s/%s\n", v, abi.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
