package pb

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images/internal/wire"
)

// Of each message types.go has the method decode, which walks over the fields and asks the decoder for a value of each
// field's type. Errors and names of fields are made by reflection, from the struct tags, because they are rare.
// TestLikeProtobuf, TestEveryField and FuzzWire hold this decoder and protobuf's own library together.

// Nesting and message count of one entry are bounded: a few bytes of input could otherwise become gigabytes.
const (
	maxNesting  = 100
	maxMessages = 1 << 20
	maxUnknown  = 100 // paths of unknown fields: at a hundred levels one is a hundred times as long as its field
)

const andMore = " and more"

// Unmarshal decodes one message. The error names the field; unknown lists fields that m has no place for (they are kept
// in m all the same), of many the first hundred.
func Unmarshal(data []byte, m Message) (unknown []string, err error) {
	d := &decoder{values: min(len(data)/2, most)}
	d.rest = data
	d.message(m)
	if d.err != nil {
		return nil, d.err
	}
	return d.unknown, nil
}

// decoder decodes one top-level message.
type decoder struct {
	place
	err *wire.FieldError

	depth, messages int
	unknown         []string // paths of fields that the types of this build do not have

	values int      // how many numbers are made at a time
	short  []uint32 // of which some are not used yet
	long   []uint64
}

// place is how far a message has been decoded.
type place struct {
	rest    []byte    // from the field's value on; the method that reads it moves this behind it
	number  int32     // of the field whose turn it is; 0 before the first
	index   int32     // of the message in a list that was read last; -1: it is in none
	before  int32     // how many paths of unknown fields there were in front of the field
	typ     wire.Type // of its value
	foreign bool      // the field is one that the types of this build do not have
	seen    fieldSet
}

// most is how many numbers are made at a time in a long message: one allocation for each would take longer than to
// decode it.
const most = 64

// next goes on to the next field of m, and reports false at the end of m or at an error.
func (d *decoder) next(m Message, required fieldSet) bool {
	if d.number != 0 {
		d.named(m)
	}
	if d.err == nil && len(d.rest) > 0 {
		return d.tag()
	}
	if d.err == nil && !d.seen.hasAll(required) {
		d.err = &wire.FieldError{Path: firstMissing(m, required, d.seen), Cause: "missing"}
	}
	return false
}

// named puts the name of the field that was read in front of what has been found in it.
func (d *decoder) named(m Message) {
	if d.err != nil {
		d.err = d.err.Inside(d.nameIn(m))
	} else if len(d.unknown) > int(d.before) && !d.foreign {
		prefix(d.unknown[d.before:], d.nameIn(m))
	}
}

// tag reads what stands in front of a field's value.
func (d *decoder) tag() bool {
	number, typ, n, err := wire.ConsumeTag(d.rest)
	if err != nil {
		d.fail("bad field tag 0x%02x", d.rest[0])
		return false
	}
	d.number, d.typ, d.rest, d.index = int32(number), typ, d.rest[n:], -1
	d.foreign, d.before = false, int32(len(d.unknown))
	d.seen.add(number)
	return true
}

// fieldSet holds numbers of fields; the generator makes sure that types have no greater ones.
type fieldSet [2]uint64

func (s *fieldSet) add(number int) {
	if number < 64*len(s) {
		s[number/64] |= 1 << (number % 64)
	}
}

func (s fieldSet) has(number int) bool    { return s[number/64]&(1<<(number%64)) != 0 }
func (s fieldSet) hasAll(t fieldSet) bool { return t[0]&^s[0] == 0 && t[1]&^s[1] == 0 }

func (d *decoder) fail(format string, args ...any) {
	d.err, d.rest = &wire.FieldError{Cause: fmt.Sprintf(format, args...)}, nil
}

// is reports whether the value has the type that the field wants, and fails if not.
func (d *decoder) is(want wire.Type) bool {
	if d.typ != want {
		d.fail("wire type %d, want %d", d.typ, want)
	}
	return d.typ == want
}

// scalar reads one number of the wire type t.
func (d *decoder) scalar(t wire.Type) (value uint64, ok bool) {
	var n int
	var err error
	if t == wire.Fixed64 {
		value, n, err = wire.ConsumeFixed(d.rest, 8)
	} else {
		value, n, err = wire.ConsumeVarint(d.rest)
	}
	if err != nil {
		d.fail("%v", err)
		return 0, false
	}
	d.rest = d.rest[n:]
	return value, true
}

// varint reads the number of a field that is not a list.
func (d *decoder) varint() (value uint64, ok bool) {
	if !d.is(wire.Varint) {
		return 0, false
	}
	return d.scalar(wire.Varint)
}

// The methods that follow return what a field is set to. Numbers wider than the field lose their upper bits, as the
// protobuf specification says.

func (d *decoder) uint32() *uint32 { return fromSlab(d, &d.short) }
func (d *decoder) uint64() *uint64 { return fromSlab(d, &d.long) }

// fromSlab takes memory for the number from an array that was made for many fields: see most.
func fromSlab[T uint32 | uint64](d *decoder, slab *[]T) *T {
	value, ok := d.varint()
	if !ok {
		return nil
	}
	if len(*slab) == 0 {
		*slab = make([]T, max(d.values, 1))
	}
	p := &(*slab)[0]
	*p, *slab = T(value), (*slab)[1:]
	return p
}

func (d *decoder) int32() *int32 {
	value, _ := d.varint()
	return to(int32(value))
}

func (d *decoder) int64() *int64 {
	value, _ := d.varint()
	return to(int64(value))
}

func (d *decoder) sint32() *int32 {
	value, _ := d.varint()
	return to(int32(wire.DecodeZigZag(value & 0xffffffff)))
}

func (d *decoder) sint64() *int64 {
	value, _ := d.varint()
	return to(wire.DecodeZigZag(value))
}

func (d *decoder) bool() *bool {
	value, _ := d.varint()
	return to(value != 0)
}

// block reads bytes with their length in front.
func (d *decoder) block() []byte {
	if !d.is(wire.Bytes) {
		return nil
	}
	b, n, err := wire.ConsumeBytes(d.rest)
	if err != nil {
		d.fail("%v", err)
		return nil
	}
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() *string { return to(string(d.block())) }
func (d *decoder) bytes() []byte   { return append([]byte{}, d.block()...) }

func (d *decoder) strings(list []string) []string { return append(list, string(d.block())) }

func (d *decoder) uint32s(list []uint32) []uint32  { return numbers(d, list, wire.Varint) }
func (d *decoder) uint64s(list []uint64) []uint64  { return numbers(d, list, wire.Varint) }
func (d *decoder) int32s(list []int32) []int32     { return numbers(d, list, wire.Varint) }
func (d *decoder) fixed64s(list []uint64) []uint64 { return numbers(d, list, wire.Fixed64) }

// numbers appends a number, or those that are packed into bytes.
func numbers[T uint32 | uint64 | int32](d *decoder, list []T, t wire.Type) []T {
	if d.typ != wire.Bytes {
		if d.is(t) {
			value, _ := d.scalar(t)
			list = append(list, T(value))
		}
		return list
	}
	packed := d.block()
	behind := d.rest
	for d.rest = packed; len(d.rest) > 0; {
		value, _ := d.scalar(t)
		list = append(list, T(value))
	}
	d.rest = behind
	return list
}

// child decodes a message within another one; one that is there already is merged with what comes.
func (d *decoder) child(decode func(*decoder)) { d.element(decode, -1) }

// element decodes a message in a list, or, if index is -1, in none.
func (d *decoder) element(decode func(*decoder), index int) {
	body := d.block()
	if d.err != nil {
		return
	}
	d.index = int32(index)
	outer := d.place
	d.place = place{rest: body}
	d.depth++
	if d.bounded() {
		decode(d)
	}
	d.depth--
	d.place = outer
}

// bounded reports whether there may be another message at this depth, and fails if not.
func (d *decoder) bounded() bool {
	d.messages++
	if d.depth > maxNesting {
		d.fail("nested more than %d levels deep", maxNesting)
	} else if d.messages >= maxMessages {
		d.fail("more than %d messages in one entry", maxMessages)
	}
	return d.err == nil
}

// keep appends a field that the message has no place for. Its tag is written anew, as protobuf's Go library does: a
// varint may have more bytes than it needs.
func (d *decoder) keep(unknown []byte) []byte {
	n, err := wire.ConsumeValue(int(d.number), d.typ, d.rest)
	if err != nil {
		d.fail("%v", err)
		return unknown
	}
	unknown = append(wire.AppendTag(unknown, int(d.number), d.typ), d.rest[:n]...)
	d.rest, d.foreign = d.rest[n:], true
	if len(d.unknown) < maxUnknown {
		d.unknown = append(d.unknown, strconv.Itoa(int(d.number)))
	} else if last := &d.unknown[maxUnknown-1]; !strings.HasSuffix(*last, andMore) {
		*last += andMore
	}
	return unknown
}

func prefix(paths []string, name string) {
	for i := range paths {
		paths[i] = name + "." + paths[i]
	}
}

// nameIn is the name of the field of m that was read last, with the index of an element.
func (d *decoder) nameIn(m Message) string {
	name := strconv.Itoa(int(d.number))
	for t := range tags(m) {
		if t.number == int(d.number) {
			name = t.name
		}
	}
	if d.index >= 0 {
		return wire.Indexed(name, int(d.index))
	}
	return name
}

// firstMissing is the name of the first required field that was not seen, in the order of the declaration.
func firstMissing(m Message, required, seen fieldSet) string {
	for t := range tags(m) {
		if required.has(t.number) && !seen.has(t.number) {
			return t.name
		}
	}
	return ""
}

// tag is what the struct tag of a field says, such as `varint,5,req,name=blk_sigset,json=blkSigset`.
type tag struct {
	number int
	name   string
}

// tags yields the number and the name of each field, in the order of the .proto file.
func tags(m Message) func(yield func(tag) bool) {
	typ := reflect.TypeOf(m).Elem()
	return func(yield func(tag) bool) {
		for i := range typ.NumField() {
			words := strings.Split(typ.Field(i).Tag.Get("protobuf"), ",")
			if len(words) < 4 {
				continue // Unknown
			}
			number, _ := strconv.Atoi(words[1])
			if !yield(tag{number, strings.TrimPrefix(words[3], "name=")}) {
				return
			}
		}
	}
}
