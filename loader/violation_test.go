package loader_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/loader"
)

// Every violation is a member, however the error is wrapped, and the text is the same.
func TestViolationsAreMembers(t *testing.T) {
	object := &loader.Error{File: "a\n.o", Omitted: 2, Violations: []loader.Violation{
		{Code: loader.CodeHookID, Message: "first", Fix: "do it",
			Places: []loader.Place{{Section: ".text", Offset: 4}}, Count: 3},
		{Code: loader.CodeFlags, Message: "second"},
	}}
	err := fmt.Errorf("wrapped: %w", object)
	var (
		violation loader.Violation
		members   *multierror.Error
	)
	if !errors.As(err, &violation) || violation.Message != "first" {
		t.Errorf("found %v", violation)
	}
	if !errors.As(err, &members) || len(members.WrappedErrors()) != 2 || len(object.WrappedErrors()) != 2 {
		t.Fatalf("members %v", members)
	}
	want := `load a\n.o: ` + string(loader.CodeHookID) + " first at .text+0x4 and 2 more\n\tfix: do it\n" +
		`load a\n.o: ` + string(loader.CodeFlags) + " second\n" + `load a\n.o: 2 more violations not shown`
	if object.Error() != want || members.Error() != want {
		t.Errorf("got %q and %q, want %q", object, members, want)
	}
}
