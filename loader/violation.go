package loader

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/ianlancetaylor/demangle"

	"github.com/crpie/crpie/internal/escape"
)

// Place is the P of the psABIs, an offset in a section, with the function around it, and the line where there is DWARF.
type Place struct {
	Section        string `json:"section,omitempty"`
	Offset         Offset `json:"offset"`
	Function       string `json:"function,omitempty"` // demangled
	FunctionOffset Offset `json:"function_offset,omitempty"`
	File           string `json:"file,omitempty"`
	Line           int    `json:"line,omitempty"`
	Column         int    `json:"column,omitempty"`
	index          int    // ELF section index, for the source line; 0 where none is wanted
}

// String gives the most telling form: "hook.c:12 (hook+0x1b, .text+0x2b)".
func (p Place) String() string {
	var in []string
	if p.Function != "" {
		in = append(in, fmt.Sprintf("%s+0x%x", p.Function, p.FunctionOffset))
	}
	if p.Section != "" {
		in = append(in, fmt.Sprintf("%s+0x%x", p.Section, p.Offset))
	}
	where := strings.Join(in, ", ")
	switch {
	case p.File == "":
		return where
	case where == "":
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d (%s)", p.File, p.Line, where)
}

// Violation is one broken rule, or one note if its rule only informs.
type Violation struct {
	Code    Code
	Message string  // the fault, with the offending thing and value
	Symbol  string  // as in the symbol table; empty if it is not about a symbol
	Places  []Place // where, in file order; at most maxPlaces of them
	Count   int     // how many places there are
	Fix     string  // what to do about it
}

// maxPlaces bounds how many places of one violation are kept; Count has the true number.
const maxPlaces = 16

// Error gives one line: code, message, first place.
func (v Violation) Error() string {
	s := string(v.Code) + " " + v.Message
	if len(v.Places) > 0 {
		s += " at " + v.Places[0].String()
	}
	if v.Count > 1 {
		s += fmt.Sprintf(" and %d more", v.Count-1)
	}
	return s
}

// Error is everything that is wrong with one object, in file order.
type Error struct {
	File       string
	Violations []Violation
	Omitted    int // violations beyond the limit of Options, not kept
}

// Error lists the violations with their fixes, one below the other.
func (e *Error) Error() string {
	return e.members().Error()
}

// Unwrap gives a *multierror.Error, so that errors.As reaches each Violation.
func (e *Error) Unwrap() error { return e.members() }

// WrappedErrors lists the violations, for errwrap and its kin.
func (e *Error) WrappedErrors() []error { return e.members().WrappedErrors() }

func (e *Error) members() *multierror.Error {
	all := make([]error, len(e.Violations))
	for i, v := range e.Violations {
		all[i] = v
	}
	return &multierror.Error{Errors: all, ErrorFormat: e.format}
}

// format lists the violations, each with its hint on a line of its own.
func (e *Error) format(members []error) string {
	file, lines := escape.Name(e.File), make([]string, 0, len(members)+1)
	for _, m := range members {
		lines = append(lines, fmt.Sprintf("load %s: %v", file, m))
		if v, ok := m.(Violation); ok && v.Fix != "" {
			lines = append(lines, "\tfix: "+v.Fix)
		}
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("load %s: %d more violations not shown", file, e.Omitted))
	}
	return strings.Join(lines, "\n")
}

// maxDemangled bounds the names for the demangler, whose output can grow exponentially with its input.
const maxDemangled = 2048

// Demangle gives the C++ or Rust name as it is written in source; other names stay. What a message cannot carry is
// escaped, and long names are shortened.
func Demangle(name string) string {
	if len(name) < maxDemangled && (strings.HasPrefix(name, "_Z") || strings.HasPrefix(name, "_R")) {
		name = demangle.Filter(name, demangle.NoClones, demangle.MaxLength(9)) // at most 2^9 bytes
	}
	return clip(name)
}

// pretty is a name that is demangled if a message is really made of it.
type pretty string

func (p pretty) String() string { return Demangle(string(p)) }

// clip makes of a name from the file what a message can carry: printable, and not too long.
func clip(name string) string {
	const limit = 300
	if len(name) > limit {
		return escape.Name(name[:limit]) + "…"
	}
	return escape.Name(name)
}
