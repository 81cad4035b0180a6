package several

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/hashicorp/go-multierror"
)

type typed int

func (t typed) Error() string { return fmt.Sprint("typed ", int(t)) }

// What is joined prints as errors.Join prints it, and every member is found.
func TestJoin(t *testing.T) {
	first, second := errors.New("first"), &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	err := Join(nil, Join(first, nil, second), typed(3))
	if want := errors.Join(first, second, typed(3)).Error(); err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	var all *multierror.Error
	if wrapped := fmt.Errorf("restore: %w", err); !errors.As(wrapped, &all) || len(all.WrappedErrors()) != 3 {
		t.Errorf("members %v", all)
	}
	var number typed
	if !errors.Is(err, first) || !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &number) || number != 3 {
		t.Errorf("a member of %v is not found: %v", err, number)
	}
}

func TestNothing(t *testing.T) {
	if Join() != nil || Join(nil, Join(nil)) != nil {
		t.Error("an error of nothing")
	}
}
