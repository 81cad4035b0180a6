//go:build !linux || !amd64

package main

import (
	"fmt"
	"runtime"
)

func runSwrk(_ []string, std streams) int {
	fmt.Fprintf(std.err, "crpie: swrk: only on Linux on x86-64, not on %s on %s\n", runtime.GOOS, runtime.GOARCH)
	return exitFailed
}

func asCRIU(_ []string, std streams) int { return runSwrk(nil, std) }
