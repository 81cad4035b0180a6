package renew

import (
	"bytes"
	"testing"
)

// used is a page with two states that have been used, the second by a thread that is just at it.
func used() []byte {
	page := make([]byte, pageSize)
	for i, b := range [][]byte{page, page[stride:]} {
		for j := range batchSize {
			b[j] = byte(j*7 + 1)
		}
		for j := batchSize; j < keyEnd; j++ {
			b[j] = byte(j)
		}
		b[keyEnd], b[posOff], b[inUseOff] = 5, 40, byte(i)
	}
	clear(page[:40])
	return page
}

func TestStates(t *testing.T) {
	change := func(at int, to byte) [][]byte {
		page := used()
		page[at] = to
		return [][]byte{page}
	}
	noKey := used()
	clear(noKey[batchSize:keyEnd])
	for name, tc := range map[string]struct {
		pages [][]byte
		want  bool
	}{
		"states":                  {[][]byte{used()}, true},
		"a page that was dropped": {[][]byte{make([]byte, pageSize), used()}, true},
		"the last slot": {[][]byte{append(make([]byte, everyState-stride),
			append(used()[:stride], make([]byte, pageSize-everyState)...)...)}, true},
		"a generation before a wrap":  {change(keyEnd+3, 0xff), true},
		"nothing":                     {nil, false},
		"zeros":                       {[][]byte{make([]byte, pageSize)}, false},
		"no generation":               {change(keyEnd, 0), false},
		"a generation beyond 2^32":    {change(keyEnd+4, 1), false},
		"a position beyond the batch": {change(posOff, batchSize+1), false},
		"in use twice":                {change(inUseOff, 2), false},
		"bytes behind a state":        {change(stateSize, 1), false},
		"bytes at the end of a slot":  {change(stride-1, 1), false},
		"bytes at the end of a page":  {change(pageSize-1, 1), false},
		"bytes that were handed out":  {change(39, 1), false},
		"bytes to be handed out":      {change(40, 9), true},
		"bytes where no state is":     {change(5*stride+3, 1), false},
		"no key":                      {[][]byte{noKey}, false},
		"text":                        {[][]byte{bytes.Repeat([]byte("text "), pageSize)[:pageSize]}, false},
		"another page is no state":    {[][]byte{used(), bytes.Repeat([]byte{1}, pageSize)}, false},
	} {
		if got := states(tc.pages); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
