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
	answers  map[question]Bounds
}

// Bounds are the best and the worst that filters can say to a call of which some arguments are not known.
type Bounds struct{ Best, Worst Answer }

// add takes a filter that is asked as well, with the bounds of its own answers.
func (b Bounds) add(own Bounds) Bounds {
	if own.Best.Wins(b.Best) {
		b.Best = own.Best
	}
	if own.Worst.Wins(b.Worst) {
		b.Worst = own.Worst
	}
	return b
}

type question struct {
	filter uint32
	call   Call
}

// New takes the filters of an image directory.
func New(entries []*pb.SeccompFilter) *Filters {
	return &Filters{entries, map[uint32]Program{}, map[question]Bounds{}}
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

// Answer gives the worst that the filters of a thread whose newest is last can say to a call.
func (f *Filters) Answer(last uint32, c Call) (Answer, error) {
	all, err := f.Bounds(last, c)
	return all.Worst, err
}

// Bounds gives the bounds of what the filters of a thread whose newest is last can say to a call.
func (f *Filters) Bounds(last uint32, c Call) (Bounds, error) {
	chain, err := f.Chain(last)
	if err != nil {
		return Bounds{}, err
	}
	all := Bounds{Allow, Allow}
	for i := len(chain) - 1; i >= 0; i-- { // from the oldest, so that threads that share filters share answers
		known, ok := f.answers[question{chain[i], c}]
		if !ok {
			own, err := f.own(chain[i], c)
			if err != nil {
				return Bounds{}, err
			}
			known = all.add(own)
			f.answers[question{chain[i], c}] = known
		}
		all = known
	}
	return all, nil
}

// own gives the bounds of one filter's answers.
func (f *Filters) own(filter uint32, c Call) (own Bounds, err error) {
	p, ok := f.programs[filter]
	if !ok {
		if p, err = Parse(f.entries[filter].GetFilter()); err != nil {
			return own, fmt.Errorf("seccomp filter %d: %w", filter, err)
		}
		f.programs[filter] = p
	}
	answers := p.Answers(&c)
	own = Bounds{answers[0], answers[0]} // a program that Parse takes returns something
	for _, a := range answers[1:] {
		if a.Wins(own.Worst) {
			own.Worst = a
		}
		if own.Best.Wins(a) {
			own.Best = a
		}
	}
	return own, nil
}
