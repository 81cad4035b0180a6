package become

import (
	"encoding/binary"
	"errors"

	"github.com/crpie/crpie/internal/sys"
)

// kind is what a message means.
type kind int32

const (
	room    kind = iota + 1 // have room for value descriptors
	take                    // descriptors, with their numbers in the zygote
	prepare                 // all is there
	execute
	end    // with exit status value
	ready  // thread value will execute
	signal // value has come
)

// program is the number of the descriptor to execute.
const program = -1

// message has as many descriptors as numbers.
type message struct {
	kind    kind
	value   int
	numbers []int
	fds     []int
}

const messageSize = 4 * (2 + sys.MaxPassed)

func send(c sys.Channel, m *message) error {
	b := make([]byte, 0, messageSize)
	for _, v := range append([]int{int(m.kind), m.value}, m.numbers...) {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(v)))
	}
	return c.Send(b, m.fds...)
}

// receive requires a number for each descriptor: the kernel drops descriptors above RLIMIT_NOFILE without an error,
// unix(7).
func receive(c sys.Channel) (*message, error) {
	b := make([]byte, messageSize)
	n, fds, err := c.Receive(b)
	if err != nil {
		return nil, err
	}
	if n < 8 || n%4 != 0 || n/4-2 != len(fds) {
		return nil, errors.New("a message of crpie's other process is not as it should be")
	}
	word := func(i int) int { return int(int32(binary.LittleEndian.Uint32(b[4*i:]))) }
	m := &message{kind: kind(word(0)), value: word(1), fds: fds}
	for i := range fds {
		m.numbers = append(m.numbers, word(2+i))
	}
	return m, nil
}
