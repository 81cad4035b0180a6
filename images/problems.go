package images

import (
	"fmt"

	"github.com/crpie/crpie/internal/several"
)

// maxProblems keeps the report of a hostile directory readable.
const maxProblems = 50

// problems collects everything that is wrong with a directory.
type problems struct{ list []error }

// Omitted counts the problems that the report of a directory leaves out.
type Omitted int

func (n Omitted) Error() string { return fmt.Sprintf("images: %d more problems", int(n)) }

func (p *problems) add(file string, entry int, cause error) {
	p.list = append(p.list, &Error{file, entry, cause})
}

func (p *problems) err() error {
	if n := len(p.list); n > maxProblems {
		return several.Join(append(p.list[:maxProblems:maxProblems], Omitted(n-maxProblems))...)
	}
	return several.Join(p.list...)
}
