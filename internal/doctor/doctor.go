//go:build linux && amd64

// Package doctor looks at a machine on which containers are to be restored with crpie: the real criu, the kernel, the
// runtimes and which criu they would start, configuration files, plugins, and what killed fronts have left. It reads;
// only sweeping changes something.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/swrk"
)

// Verdict is what became of a check.
type Verdict string

// The verdicts. A note is about something that is not here, or cannot be told.
const (
	Fine    Verdict = "ok"
	Problem Verdict = "problem"
	Note    Verdict = "note"
)

// Finding is the result of a check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Hint    string  `json:"hint,omitempty"` // what to do
}

// Options say where to look.
type Options struct {
	Front *swrk.Front // its configuration and its environment are what is looked at
	Dirs  []string    // more directories in which leftovers may be, and all below them
	Clean bool        // leftovers are removed
}

// Examine carries out all checks.
func Examine(ctx context.Context, opts *Options) []Finding {
	r := &round{ctx: ctx, Options: opts}
	r.link()
	r.criu()
	r.kernel()
	r.capabilities()
	r.commands()
	r.services()
	r.configuration()
	r.leftovers()
	return r.findings
}

// round is one look at everything.
type round struct {
	*Options
	ctx      context.Context
	front    string // the name by which runtimes find crpie
	findings []Finding
}

func (r *round) add(check string, verdict Verdict, hint, format string, args ...any) {
	r.findings = append(r.findings, Finding{check, verdict, fmt.Sprintf(format, args...), hint})
}

// wrong adds each error of err as a problem, with the hint that is in it, or else this one.
func (r *round) wrong(check, hint string, err error) {
	all := []error{err}
	if several, ok := errors.AsType[*multierror.Error](err); ok {
		all = several.WrappedErrors()
	}
	for _, err := range all {
		text, own, _ := strings.Cut(err.Error(), "\n  hint: ")
		r.add(check, Problem, cmp.Or(own, hint), "%s", text)
	}
}

func (r *round) fine(check, format string, args ...any) { r.add(check, Fine, "", format, args...) }
