package refusal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-multierror"

	"github.com/crpie/crpie/refusal"
)

// A program lists the reasons, however the error is wrapped.
func ExampleRefusal() {
	err := fmt.Errorf("service 7: %w", &refusal.Refusal{Verb: refusal.Restore, Problems: []refusal.Problem{
		{Where: "this host", What: "pid 12 is taken", Fix: "restore in a pid namespace"},
	}})
	var refused *refusal.Refusal
	if errors.As(err, &refused) {
		for _, p := range refused.Problems {
			fmt.Printf("%s: %s (%s)\n", p.Where, p.What, p.Fix)
		}
	}
	// Output:
	// this host: pid 12 is taken (restore in a pid namespace)
}

// Every reason is a member, however the refusal is wrapped.
func TestMembers(t *testing.T) {
	two := &refusal.Refusal{Verb: refusal.Graft, Problems: []refusal.Problem{
		{Where: "task 1", What: "one", Fix: "try"}, {Where: "task 2", What: "another"},
	}}
	err := fmt.Errorf("wrapped: %w", two)
	var (
		refused *refusal.Refusal
		problem refusal.Problem
		members *multierror.Error
	)
	if !errors.As(err, &refused) || refused != two || !errors.As(err, &problem) || problem != two.Problems[0] {
		t.Errorf("found %v, %v", refused, problem)
	}
	if !errors.As(err, &members) || len(members.WrappedErrors()) != 2 || len(two.WrappedErrors()) != 2 {
		t.Fatalf("members %v", members)
	}
	if !errors.Is(err, two.Problems[1]) || errors.Is(err, refusal.Problem{Where: "task 3"}) {
		t.Error("errors.Is looks elsewhere")
	}
	if members.Error() != two.Error() {
		t.Errorf("go-multierror prints %q, want %q", members, two)
	}
}

func TestText(t *testing.T) {
	one := refusal.Problem{Where: "task 1", What: "one", Fix: "try"}
	for want, problems := range map[string][]refusal.Problem{
		"cannot restore: task 1: one\n  hint: try": {one},
		"cannot restore, for 2 reasons:\ntask 1: one\n  hint: try\ntask 2: not that one": {one,
			{Where: "task 2", What: "not that one"}},
	} {
		if got := (&refusal.Refusal{Problems: problems}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
