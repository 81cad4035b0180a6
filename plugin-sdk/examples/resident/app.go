// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// A Go program that notices its restores. The hook is C, because Go code cannot run on a stack that is not its own: it
// counts, and Go reads the count.
//
//	CGO_CFLAGS=-I/usr/local/include CGO_LDFLAGS_ALLOW='.*' go build app.go
package main

/*
#cgo LDFLAGS: -Wl,--export-dynamic-symbol=criu_hooks
#include <crpie/resident.h>

static volatile unsigned long generation;

static int restored(struct crpie_ctx *ctx)
{
	(void)ctx;
	generation++;
	return 0;
}

CRIU_HOOKS = {
	CRIU_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, restored),
	CRIU_HOOKS_END,
};

static unsigned long current(void) { return generation; }
*/
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	fmt.Println("READY", os.Getpid())
	<-asked
	fmt.Println("generation", C.current())
	fmt.Println("PASS")
}
