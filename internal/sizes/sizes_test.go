package sizes

import (
	"math"
	"testing"
)

func TestNothingWraps(t *testing.T) {
	const top = math.MaxUint64
	for _, c := range []struct{ got, want uint64 }{
		{Add(2, 3), 5}, {Add(top-1, 1), top}, {Add(top, 1), top}, {Add(top, top), top},
		{Add(1<<63, 1<<63), top},
		{Mul(6, 7), 42}, {Mul(0, top), 0}, {Mul(1<<32, 1<<32), top}, {Mul(top, 2), top}, {Mul(top, 1), top},
	} {
		if c.got != c.want {
			t.Errorf("got 0x%x, want 0x%x", c.got, c.want)
		}
	}
}
