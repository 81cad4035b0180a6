//go:build !linux || !amd64

package main

import (
	"fmt"
	"runtime"
)

func runTry(_ []string, std streams) int {
	fmt.Fprintf(std.err, "crpie: try: only on Linux on x86-64, not on %s on %s\n", runtime.GOOS, runtime.GOARCH)
	return exitFailed
}
