// Package refusal says why images cannot be restored or grafted: everything at once, and before anything has been
// touched.
//
// What lives here: the error that packages restorer and graft return. What never does: a reason. It works on every
// system.
package refusal

import (
	"fmt"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/internal/several"
)

// Verb names the refused action.
type Verb int

// What may be refused.
const (
	Restore Verb = iota
	Graft
)

func (v Verb) String() string { return [...]string{"restore", "graft"}[v] }

// Participle gives the verb's past participle: "restored", "grafted".
func (v Verb) Participle() string { return [...]string{"restored", "grafted"}[v] }

// Problem is one reason for a refusal.
type Problem struct {
	Where string // "task 12 fd 3", "this host"
	What  string // the reason
	Fix   string // what to do about it; may be empty
	Err   error  // the kernel's error that What words; nil without one
}

// Error gives the place and the reason, and the hint below them.
func (p Problem) Error() string {
	s := p.Where + ": " + p.What
	if p.Fix != "" {
		s += "\n  hint: " + p.Fix
	}
	return s
}

// Unwrap gives the kernel's error.
func (p Problem) Unwrap() error { return p.Err }

// Refusal lists all reasons, in the order in which they were found. Nothing has been changed and no process created.
type Refusal struct {
	Verb     Verb
	Problems []Problem
}

// Error lists the problems with their hints, one below the other.
func (r *Refusal) Error() string { return r.members().Error() }

// Unwrap gives a *multierror.Error, so that errors.As reaches each Problem.
func (r *Refusal) Unwrap() error { return r.members() }

// WrappedErrors lists the problems, for errwrap and its kin.
func (r *Refusal) WrappedErrors() []error { return r.members().WrappedErrors() }

func (r *Refusal) members() *multierror.Error {
	all := make([]error, len(r.Problems))
	for i, p := range r.Problems {
		all[i] = p
	}
	return &multierror.Error{Errors: all, ErrorFormat: r.format}
}

func (r *Refusal) format(members []error) string {
	if len(members) == 1 {
		return fmt.Sprintf("cannot %s: %v", r.Verb, members[0])
	}
	return fmt.Sprintf("cannot %s, for %d reasons:\n%s", r.Verb, len(members), several.Lines(members))
}
