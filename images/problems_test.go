package images

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/hashicorp/go-multierror"
)

// Every problem of a directory is a member, and what is left out is counted.
func TestProblemsAreMembers(t *testing.T) {
	var p problems
	for i := range maxProblems + 3 {
		p.add("core-1.img", i, fmt.Errorf("read: %w", fs.ErrPermission))
	}
	err := fmt.Errorf("wrapped: %w", p.err())
	var (
		first   *Error
		omitted Omitted
		members *multierror.Error
	)
	if !errors.As(err, &first) || first.Entry != 0 || !errors.As(err, &omitted) || omitted != 3 ||
		!errors.Is(err, fs.ErrPermission) {
		t.Errorf("found %v, %v", first, omitted)
	}
	if !errors.As(err, &members) || len(members.WrappedErrors()) != maxProblems+1 {
		t.Errorf("members %v", members)
	}
	if none := (&problems{}).err(); none != nil {
		t.Errorf("an error of nothing: %v", none)
	}
}
