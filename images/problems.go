package images

import (
	"errors"
	"fmt"
)

// maxProblems keeps the report of a hostile directory readable.
const maxProblems = 50

// problems collects everything that is wrong with a directory.
type problems struct{ list []error }

func (p *problems) add(file string, entry int, cause error) {
	p.list = append(p.list, &Error{file, entry, cause})
}

func (p *problems) err() error {
	if n := len(p.list); n > maxProblems {
		return errors.Join(append(p.list[:maxProblems:maxProblems], fmt.Errorf("images: %d more problems", n-maxProblems))...)
	}
	return errors.Join(p.list...)
}
