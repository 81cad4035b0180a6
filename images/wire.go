package images

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
)

// Decoding follows the struct tags of package pb, which are protoc-gen-go's, and so does encoding (encode.go). Errors
// name the field, and what a message has no place for is kept in its member Unknown. TestLikeProtobuf and FuzzWire
// hold them and protobuf's own library together.

// Nesting and message count of one entry are bounded: a few bytes of input could otherwise become gigabytes.
const (
	maxNesting  = 100
	maxMessages = 1 << 20
)

// fieldError is a decoding error with the path of the field, outermost first.
type fieldError struct {
	path  string
	cause string
}

func (e *fieldError) Error() string { return "field " + e.path + ": " + e.cause }

func fieldErr(path, format string, args ...any) *fieldError {
	return &fieldError{path, fmt.Sprintf(format, args...)}
}

// inside prefixes the path of the field with the name of the field that contains it.
func (e *fieldError) inside(name string) *fieldError {
	if e.path == "" {
		return &fieldError{name, e.cause}
	}
	return &fieldError{name + "." + e.path, e.cause}
}

// messagePlan is what the struct tags of one message type say.
type messagePlan struct {
	fields   []fieldPlan
	byNumber []*fieldPlan        // nil where there is no field; as long as the highest number needs
	encoded  func() []*fieldPlan // in the order of their numbers
	unknown  int                 // index of the member Unknown
}

func (p *messagePlan) field(number int) *fieldPlan {
	if number < len(p.byNumber) {
		return p.byNumber[number]
	}
	return nil
}

type fieldPlan struct {
	index    int // in the struct
	order    int // in messagePlan.fields
	number   int
	name     string
	zigzag   bool
	wire     wire.Type
	required bool
	repeated bool
	kind     reflect.Kind // of the value itself, behind pointer or slice
	elem     reflect.Type // its type
}

var plans sync.Map // reflect.Type of the message struct -> *messagePlan

// planOf returns how a struct is decoded, which its tags say; computed once for a type.
func planOf(t reflect.Type) *messagePlan {
	if p, ok := plans.Load(t); ok {
		return p.(*messagePlan)
	}
	p := &messagePlan{}
	p.fields = make([]fieldPlan, 0, t.NumField())
	highest := 0
	for i := range t.NumField() {
		member := t.Field(i)
		tag, ok := strings.CutPrefix(string(member.Tag), `protobuf:"`)
		if !ok {
			p.unknown = i
			continue
		}
		f := planField(i, member.Type, strings.TrimSuffix(tag, `"`))
		p.fields, highest = append(p.fields, f), max(highest, f.number)
	}
	if len(p.fields) > maxFields {
		panic("images: more fields than bits in message " + t.String())
	}
	p.byNumber = make([]*fieldPlan, highest+1)
	for i := range p.fields {
		f := &p.fields[i]
		f.order = i
		p.byNumber[f.number] = f
	}
	p.encoded = sync.OnceValue(func() []*fieldPlan { return byNumber(p.fields) })
	plans.Store(t, p)
	return p
}

// planField reads a tag such as `varint,5,req,name=blk_sigset,json=blkSigset`, as protoc-gen-go writes it.
func planField(index int, t reflect.Type, tag string) fieldPlan {
	coding, rest, _ := strings.Cut(tag, ",")
	digits, rest, _ := strings.Cut(rest, ",")
	label, rest, _ := strings.Cut(rest, ",")
	name, rest, _ := strings.Cut(rest, ",")
	number, err := strconv.Atoi(digits)
	if err != nil {
		panic("images: struct tag " + tag)
	}
	f := fieldPlan{index: index, number: number, required: label == "req", repeated: label == "rep"}
	f.elem = t
	if t.Kind() == reflect.Pointer || f.repeated {
		f.elem = t.Elem()
	}
	if f.repeated && f.elem.Kind() == reflect.Pointer {
		f.elem = f.elem.Elem()
	}
	f.kind = f.elem.Kind()
	f.wire, f.zigzag = wireType(coding), strings.HasPrefix(coding, "zigzag")
	f.name = strings.TrimPrefix(name, "name=")
	if strings.Contains(rest, "packed") || f.repeated && f.kind == reflect.Slice {
		panic("images: packed lists and lists of byte strings are not written here: struct tag " + tag)
	}
	return f
}

func wireType(word string) wire.Type {
	switch word {
	case "varint", "zigzag32", "zigzag64":
		return wire.Varint
	case "bytes":
		return wire.Bytes
	case "fixed32":
		return wire.Fixed32
	case "fixed64":
		return wire.Fixed64
	}
	panic("images: wire type " + word + " in a generated message")
}

// wireDecoder decodes one top-level message.
type wireDecoder struct {
	messages int
	unknown  []string // paths of fields that the types of this build do not have
}

// Unmarshal decodes one message. The error names the field; unknown lists fields that m has no place for (they are kept
// in m all the same).
func Unmarshal(data []byte, m pb.Message) (unknown []string, err error) {
	d := wireDecoder{}
	if err := d.message(data, reflect.ValueOf(m).Elem(), 0); err != nil {
		return nil, err
	}
	return d.unknown, nil
}

// message fills the struct v. The result is a *fieldError or nil.
func (d *wireDecoder) message(data []byte, v reflect.Value, depth int) error {
	if depth > maxNesting {
		return fieldErr("", "nested more than %d levels deep", maxNesting)
	}
	if d.messages++; d.messages > maxMessages {
		return fieldErr("", "more than %d messages in one entry", maxMessages)
	}
	plan := planOf(v.Type())
	var seen fieldSet
	for len(data) > 0 {
		number, typ, tag, err := wire.ConsumeTag(data)
		if err != nil {
			return fieldErr("", "bad field tag 0x%02x", data[0])
		}
		f, n := plan.field(number), 0
		if f == nil {
			n, err = d.foreign(number, typ, data, tag, v.Field(plan.unknown))
		} else {
			n, err = d.field(f, typ, data[tag:], v.Field(f.index), depth)
			seen.add(f.order)
		}
		if err != nil {
			return err
		}
		data = data[tag+n:]
	}
	return missing(plan, seen)
}

// foreign keeps a field that the message has no place for. Its tag is written anew, as protobuf's Go library does: a
// varint may have more bytes than it needs.
func (d *wireDecoder) foreign(number int, typ wire.Type, data []byte, tag int, unknown reflect.Value) (n int,
	err error) {
	n, err = wire.ConsumeValue(number, typ, data[tag:])
	if err != nil {
		return 0, fieldErr(strconv.Itoa(number), "%v", err)
	}
	d.unknown = append(d.unknown, strconv.Itoa(number))
	kept := wire.AppendTag(unknown.Bytes(), number, typ)
	unknown.SetBytes(append(kept, data[tag:][:n]...))
	return n, nil
}

// fieldSet holds fields of a message by their order.
type fieldSet [2]uint64

const maxFields = 64 * len(fieldSet{})

func (s *fieldSet) add(order int)      { s[order/64] |= 1 << (order % 64) }
func (s *fieldSet) has(order int) bool { return s[order/64]&(1<<(order%64)) != 0 }

// missing reports the first required field that a message lacks.
func missing(plan *messagePlan, seen fieldSet) error {
	for i := range plan.fields {
		if plan.fields[i].required && !seen.has(i) {
			return fieldErr(plan.fields[i].name, "missing")
		}
	}
	return nil
}

// field decodes one occurrence of f at the start of data into v and returns its length.
func (d *wireDecoder) field(f *fieldPlan, typ wire.Type, data []byte, v reflect.Value, depth int) (int, error) {
	packed := f.repeated && typ == wire.Bytes && f.wire != wire.Bytes
	if typ != f.wire && !packed {
		return 0, fieldErr(f.name, "wire type %d, want %d", typ, f.wire)
	}
	if typ != wire.Bytes {
		value, n, err := scalar(f, data)
		if err != nil {
			return 0, fieldErr(f.name, "%v", err)
		}
		f.store(v, value)
		return n, nil
	}
	body, n, err := wire.ConsumeBytes(data)
	if err != nil {
		return 0, fieldErr(f.name, "%v", err)
	}
	if packed {
		return n, f.storePacked(v, body)
	}
	return n, d.bytes(f, body, v, depth)
}

func (f *fieldPlan) storePacked(v reflect.Value, body []byte) error {
	for len(body) > 0 {
		value, n, err := scalar(f, body)
		if err != nil {
			return fieldErr(f.name, "%v", err)
		}
		f.store(v, value)
		body = body[n:]
	}
	return nil
}

// scalar reads one number of the field's wire type.
func scalar(f *fieldPlan, data []byte) (value uint64, n int, err error) {
	switch f.wire {
	case wire.Fixed32:
		return wire.ConsumeFixed(data, 4)
	case wire.Fixed64:
		return wire.ConsumeFixed(data, 8)
	}
	value, n, err = wire.ConsumeVarint(data)
	if f.zigzag {
		if f.kind == reflect.Int32 {
			value &= 0xffffffff
		}
		value = uint64(wire.DecodeZigZag(value))
	}
	return value, n, err
}

// store puts a number where the field is: behind a fresh pointer, or at the end of a list. Numbers wider than the
// field lose their upper bits, as the protobuf specification says.
func (f *fieldPlan) store(v reflect.Value, value uint64) {
	switch p := v.Addr().Interface().(type) { // the common types, without reflection per value
	case **uint32:
		narrow := uint32(value)
		*p = &narrow
		return
	case **uint64:
		*p = &value
		return
	case *[]uint32:
		*p = append(*p, uint32(value))
		return
	case *[]uint64:
		*p = append(*p, value)
		return
	}
	target := reflect.New(f.elem).Elem()
	switch f.kind {
	case reflect.Bool:
		target.SetBool(value != 0)
	case reflect.Int32:
		target.SetInt(int64(int32(value)))
	case reflect.Int64:
		target.SetInt(int64(value))
	case reflect.Uint32:
		target.SetUint(uint64(uint32(value)))
	default:
		target.SetUint(value)
	}
	if f.repeated {
		v.Set(reflect.Append(v, target))
		return
	}
	v.Set(target.Addr())
}

// bytes decodes a string, a byte string or a nested message.
func (d *wireDecoder) bytes(f *fieldPlan, body []byte, v reflect.Value, depth int) error {
	switch {
	case f.kind == reflect.Struct:
		return d.nested(f, body, v, depth)
	case f.kind == reflect.String && f.repeated:
		v.Set(reflect.Append(v, reflect.ValueOf(string(body))))
	case f.kind == reflect.String:
		s := string(body)
		v.Set(reflect.ValueOf(&s))
	default: // []byte: its elem is a uint8
		v.SetBytes(append([]byte{}, body...))
	}
	return nil
}

func (d *wireDecoder) nested(f *fieldPlan, body []byte, v reflect.Value, depth int) error {
	m := v
	switch {
	case f.repeated:
		m = reflect.New(f.elem)
		v.Set(reflect.Append(v, m))
	case v.IsNil(): // a second occurrence is merged into the first
		v.Set(reflect.New(f.elem))
	}
	before := len(d.unknown)
	if err := d.message(body, m.Elem(), depth+1); err != nil {
		return err.(*fieldError).inside(f.nameAt(v))
	}
	for i := before; i < len(d.unknown); i++ {
		d.unknown[i] = f.nameAt(v) + "." + d.unknown[i]
	}
	return nil
}

// nameAt is the name of the field with the index of the element that was appended last.
func (f *fieldPlan) nameAt(v reflect.Value) string {
	if !f.repeated {
		return f.name
	}
	return indexed(f.name, v.Len()-1)
}

func indexed(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }
