//go:build linux && amd64

package restorer

import (
	"testing"
)

// The next ids that the kernel hands out are none that a plan needs.
func TestBehind(t *testing.T) {
	const most, spare = 32767, 1000
	for name, tc := range map[string]struct {
		ids        []int
		last, want int
	}{
		"far away":                  {[]int{500, 501}, 2000, 2000},
		"fresh namespace":           {[]int{2, 3, 40}, 8, 40},
		"the next one":              {[]int{2001}, 2000, 2001},
		"within reach":              {[]int{3000}, 2000, 3000},
		"out of reach":              {[]int{3001}, 2000, 2000},
		"the order begins again":    {[]int{400, 5000}, 32000, 5000},
		"at the end":                {[]int{100, 9000, 32700}, 32650, 9000},
		"everywhere, but for a gap": {everySecond(2, most, 9000, 9400), 20000, 8998},
	} {
		if got := behind(tc.ids, tc.last, most, spare); got != tc.want {
			t.Errorf("%s: behind %d, want %d", name, got, tc.want)
		}
	}
}

// everySecond lists every second number but for a gap.
func everySecond(from, to, gapFrom, gapTo int) (ids []int) {
	for n := from; n <= to; n += 2 {
		if n < gapFrom || n >= gapTo {
			ids = append(ids, n)
		}
	}
	return ids
}
