//go:build linux && amd64

package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/restorer"
)

// networkFlags are about the network namespace that the processes had.
func (r *restoreFlags) networkFlags(f *pflag.FlagSet) {
	f.Func("veth-pair", "Make the other end of the veth link IN of their network namespace here: `IN=OUT[@BRIDGE]`.",
		r.vethPair)
	f.VarP(&joinFlag{r}, "join-ns", "J", "Restore into an existing namespace, KIND net, uts, ipc or time: `KIND:PID` or KIND:PATH.")
	f.Func("empty-ns", "Leave their own namespace of this `KIND` empty: net.", r.emptyNS)
}

// vethPair is the same as --external veth[IN]:OUT[@BRIDGE].
func (r *restoreFlags) vethPair(s string) error {
	in, out, found := strings.Cut(s, "=")
	if !found || in == "" || out == "" {
		return errors.New("want IN=OUT or IN=OUT@BRIDGE")
	}
	r.external = append(r.external, "veth["+in+"]:"+out)
	return nil
}

func (r *restoreFlags) emptyNS(s string) error {
	if s != "net" {
		return errors.New("want net")
	}
	r.emptyNet = true
	return nil
}

// joinFlag is a namespace to join. Those of other kinds are crpie's own.
type joinFlag struct{ r *restoreFlags }

func (j *joinFlag) String() string { return "" }
func (j *joinFlag) Type() string   { return "string" }

// Set reads an argument of --join-ns as criu has it.
func (j *joinFlag) Set(s string) error {
	kind, place, found := strings.Cut(s, ":")
	switch {
	case !found || place == "":
		return errors.New("want KIND:PID or KIND:PATH, KIND one of net, uts, ipc, time")
	case slices.Contains(restorer.JoinKinds(), kind):
		if j.r.join == nil {
			j.r.join = map[string]string{}
		}
		j.r.join[kind] = place
		return nil
	}
	option := criuOption{names: "join-ns", fate: refused,
		why:  "crpie restores into the " + escape.Name(kind) + " namespace that it is started in",
		hint: "start it there: nsenter -t PID --" + escape.Name(kind) + " crpie restore ... (nsenter(1))"}
	j.r.criuOnly.use(&option, "--join-ns="+escape.Name(s), s)
	return nil
}
