package seccomp

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

// MAX_INSNS_PER_PATH of kernel/seccomp.c bounds the instructions of a thread's filters, and 4 for each filter but the
// newest. Linux counts after it has translated them, to no fewer.
const (
	maxPath   = 32768
	eachCosts = 4
)

// Filters are those of seccomp.img. Each names the one that was installed before it; all of them answer.
type Filters struct {
	entries  []*pb.SeccompFilter
	programs map[uint32]Program
	answers  map[question]Answer
}

type question struct {
	filter uint32
	call   Call
}

// New takes the filters of an image directory.
func New(entries []*pb.SeccompFilter) *Filters {
	return &Filters{entries, map[uint32]Program{}, map[question]Answer{}}
}

// Chain lists the filters of a thread whose newest is last, newest first.
func (f *Filters) Chain(last uint32) ([]uint32, error) {
	var chain []uint32
	size := -eachCosts
	for next := &last; next != nil; next = f.entries[*next].Prev {
		if int64(*next) >= int64(len(f.entries)) || len(chain) > 0 && *next >= chain[len(chain)-1] {
			return nil, fmt.Errorf("seccomp filter %d: seccomp.img has %d filters, and each names an earlier one",
				*next, len(f.entries))
		}
		chain = append(chain, *next)
		if size += len(f.entries[*next].GetFilter())/instructionSize + eachCosts; size > maxPath {
			return nil, fmt.Errorf("seccomp filter %d and those before it are longer than Linux permits, %d instructions",
				last, maxPath)
		}
	}
	return chain, nil
}

// Answer is the worst that the filters of a thread whose newest is last can say to a call.
func (f *Filters) Answer(last uint32, c Call) (Answer, error) {
	chain, err := f.Chain(last)
	if err != nil {
		return 0, err
	}
	worst := Allow
	for i := len(chain) - 1; i >= 0; i-- { // from the oldest, so that threads that share filters share answers
		known, ok := f.answers[question{chain[i], c}]
		if !ok {
			if known, err = f.own(chain[i], c, worst); err != nil {
				return 0, err
			}
			f.answers[question{chain[i], c}] = known
		}
		worst = known
	}
	return worst, nil
}

// own is the worst of one filter and of those before it.
func (f *Filters) own(filter uint32, c Call, worst Answer) (Answer, error) {
	p, ok := f.programs[filter]
	if !ok {
		var err error
		if p, err = Parse(f.entries[filter].GetFilter()); err != nil {
			return 0, fmt.Errorf("seccomp filter %d: %w", filter, err)
		}
		f.programs[filter] = p
	}
	for _, a := range p.Answers(&c) {
		if a.Wins(worst) {
			worst = a
		}
	}
	return worst, nil
}
