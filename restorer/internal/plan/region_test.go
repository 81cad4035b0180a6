package plan

import (
	"testing"

	"github.com/crpie/crpie/internal/abi"
)

// A stack pointer has an end only in a stack; what is lent follows the last one.
func TestStackEnd(t *testing.T) {
	r := LayRegion(1<<32, 1, 1, 2, 1)
	second := r.Stacks + abi.StackSlot
	for addr, want := range map[uint64]uint64{
		r.Stacks - 1: 0, r.Stacks: second, second - 1: second, second: r.Lent, r.Lent - 1: r.Lent,
		r.Lent: 0, r.Plan: 0,
	} {
		if got := r.StackEnd(addr); got != want {
			t.Errorf("%#x: %#x, want %#x", addr, got, want)
		}
	}
}
