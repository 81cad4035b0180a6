package main

import (
	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/trust"
)

const (
	pluginFlagHelp = "Run the hooks of `FILE.o[,KEY=VALUE]...` with these parameters; may be given several times. A comma in a value " +
		"is written \\,. Values @FILE, @fd:N and @env:NAME are read from there and not shown; @task:FILE is read in the task, by plugins that can. select=root, select=pid:N or select=comm:NAME: only in such tasks."
	timeoutFlagHelp = "One call of a hook may take `TIME` at most; 0 is no limit."
)

// untrusted accepts files that others could have written, whose names and contents decide what runs in a process.
type untrusted bool

const untrustedName = "allow-untrusted"

func (u *untrusted) add(f *pflag.FlagSet, files string) {
	f.BoolVar((*bool)(u), untrustedName, false, "Take "+files+" that another user owns or can write.")
}

func (u untrusted) rule() trust.Rule {
	return trust.Rule{Untrusted: bool(u), Option: "--" + untrustedName}
}
