// Package several makes one error of several, a line for each, as a *multierror.Error: importers read its members with
// WrappedErrors, errors.As and errors.Is.
package several

import (
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Join makes one error of those that are not nil, in their order; without any it returns nil. Members that Join has
// made are taken apart.
func Join(errs ...error) error {
	all := multierror.Append(nil, errs...)
	all.ErrorFormat = Lines
	return all.ErrorOrNil()
}

// Lines prints errors one below the other.
func Lines(errs []error) string {
	lines := make([]string, len(errs))
	for i, err := range errs {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}
