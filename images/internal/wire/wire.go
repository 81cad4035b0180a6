// Package wire reads and writes the elements of protobuf's encoding (https://protobuf.dev/programming-guides/encoding).
// What lives here are numbers and bytes; what they mean is for package images.
package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// Type is how the value of a field is encoded.
type Type uint8

// The types; 3 and 4 enclose a group, which CRIU does not use.
const (
	Varint  Type = 0
	Fixed64 Type = 1
	Bytes   Type = 2
	start   Type = 3
	end     Type = 4
	Fixed32 Type = 5
)

// Errors of Consume functions.
var (
	errOverflow = errors.New("variable length integer overflow")
	errNumber   = errors.New("invalid field number")
	errType     = errors.New("cannot parse reserved wire type")
	errGroup    = errors.New("mismatching end group marker")
	errNesting  = errors.New("exceeded maximum recursion depth")
)

// maxNumber is the largest number of a field.
const maxNumber = 1<<29 - 1

// ConsumeVarint reads a number at the start of data and returns its length.
func ConsumeVarint(data []byte) (v uint64, n int, err error) {
	v, n = binary.Uvarint(data)
	switch {
	case n > 0:
		return v, n, nil
	case n == 0 && len(data) < binary.MaxVarintLen64:
		return 0, 0, io.ErrUnexpectedEOF
	}
	return 0, 0, errOverflow
}

// ConsumeTag reads number and type of a field.
func ConsumeTag(data []byte) (number int, t Type, n int, err error) {
	v, n, err := ConsumeVarint(data)
	if err == nil && (v>>3 < 1 || v>>3 > maxNumber) {
		err = errNumber
	}
	return int(v >> 3), Type(v & 7), n, err
}

// ConsumeBytes reads bytes with their length in front.
func ConsumeBytes(data []byte) (b []byte, n int, err error) {
	size, n, err := ConsumeVarint(data)
	if err != nil {
		return nil, 0, err
	}
	if size > uint64(len(data)-n) {
		return nil, 0, io.ErrUnexpectedEOF
	}
	return data[n:][:size], n + int(size), nil
}

// ConsumeFixed reads a number of 4 or 8 bytes.
func ConsumeFixed(data []byte, size int) (v uint64, n int, err error) {
	switch {
	case len(data) < size:
		return 0, 0, io.ErrUnexpectedEOF
	case size == 4:
		return uint64(binary.LittleEndian.Uint32(data)), 4, nil
	}
	return binary.LittleEndian.Uint64(data), 8, nil
}

// maxGroups is how deep groups may be nested.
const maxGroups = 100

// ConsumeValue returns the length of a value of any type, behind its tag.
func ConsumeValue(number int, t Type, data []byte) (n int, err error) {
	return consumeValue(number, t, data, maxGroups)
}

// consumeValue bounds the nesting of groups by depth: each level costs a byte of input and a frame of the stack.
func consumeValue(number int, t Type, data []byte, depth int) (n int, err error) {
	switch t {
	case Varint:
		_, n, err = ConsumeVarint(data)
	case Fixed32:
		_, n, err = ConsumeFixed(data, 4)
	case Fixed64:
		_, n, err = ConsumeFixed(data, 8)
	case Bytes:
		_, n, err = ConsumeBytes(data)
	case start:
		return consumeGroup(number, data, depth)
	case end:
		err = errGroup
	default:
		err = errType
	}
	return n, err
}

// consumeGroup returns the length of what follows the start of a group, its end included.
func consumeGroup(number int, data []byte, depth int) (n int, err error) {
	if depth == 0 {
		return 0, errNesting
	}
	for {
		inner, t, size, err := ConsumeTag(data[n:])
		if err != nil {
			return 0, err
		}
		n += size
		if t == end {
			if inner != number {
				return 0, errGroup
			}
			return n, nil
		}
		if size, err = consumeValue(inner, t, data[n:], depth-1); err != nil {
			return 0, err
		}
		n += size
	}
}

// AppendTag appends number and type of a field.
func AppendTag(b []byte, number int, t Type) []byte {
	return binary.AppendUvarint(b, uint64(number)<<3|uint64(t))
}

// AppendBytes appends bytes with their length in front.
func AppendBytes(b, value []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// DecodeZigZag turns an encoded number into a signed one.
func DecodeZigZag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// EncodeZigZag is the inverse of DecodeZigZag.
func EncodeZigZag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }
