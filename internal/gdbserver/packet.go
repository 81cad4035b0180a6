//go:build linux

package gdbserver

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxPacket bounds a packet, bytes; gdb is told so.
const maxPacket = 16 << 10

// interrupt is what stands for Ctrl-C of gdb, a byte without a packet.
const interrupt = "\x03"

// readPackets reads until the connection ends; each packet is confirmed to gdb. Those that are damaged gdb sends again.
func readPackets(conn io.ReadWriter, got chan<- string) {
	defer close(got)
	for r := bufio.NewReader(conn); ; {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return
		case b == interrupt[0]:
			got <- interrupt
		case b == '$':
			packet, intact, err := readPacket(r)
			if err != nil {
				return
			}
			if !intact {
				_, _ = conn.Write([]byte("-")) // an error ends the next read
				continue
			}
			_, _ = conn.Write([]byte("+"))
			got <- packet
		}
	}
}

// readPacket reads a packet behind its $, and checks its sum.
func readPacket(r *bufio.Reader) (packet string, intact bool, err error) {
	var b strings.Builder
	sum := byte(0)
	for {
		c, err := r.ReadByte()
		if err != nil {
			return "", false, err
		}
		if c == '#' {
			break
		}
		if b.Len() == maxPacket {
			return "", false, fmt.Errorf("a packet of more than %d bytes", maxPacket)
		}
		sum += c
		b.WriteByte(c)
	}
	digits := make([]byte, 2)
	if _, err := io.ReadFull(r, digits); err != nil {
		return "", false, err
	}
	want, err := strconv.ParseUint(string(digits), 16, 8)
	return b.String(), err == nil && byte(want) == sum, nil
}

// encode frames a reply.
func encode(reply string) []byte {
	sum := byte(0)
	for i := range len(reply) {
		sum += reply[i]
	}
	return fmt.Appendf(nil, "$%s#%02x", reply, sum)
}

// escaped writes binary data: }, # , $ and * are written as } and the byte xor 0x20.
func escaped(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		if strings.IndexByte("}#$*", c) >= 0 {
			b.WriteByte('}')
			c ^= 0x20
		}
		b.WriteByte(c)
	}
	return b.String()
}
