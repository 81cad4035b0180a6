package images

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Decoding follows the struct tags of the generated messages instead of calling proto.Unmarshal first: building that
// package's tables costs more than one millisecond per process, a fifth of a whole restore, and its errors name no
// field. A message with fields that this build does not know goes through proto.Unmarshal as well, so that they
// survive re-encoding. TestWireAgreesWithProto and FuzzWire hold the two decoders together.

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
	byNumber []*fieldPlan // nil where there is no field; as long as the highest number needs
}

func (p *messagePlan) field(number protowire.Number) *fieldPlan {
	if int(number) < len(p.byNumber) {
		return p.byNumber[number]
	}
	return nil
}

type fieldPlan struct {
	index    int // in the struct
	order    int // in messagePlan.fields
	number   protowire.Number
	name     string
	zigzag   bool
	wire     protowire.Type
	required bool
	repeated bool
	kind     reflect.Kind // of the value itself, behind pointer or slice
	elem     reflect.Type // its type
}

var plans sync.Map // reflect.Type of the message struct -> *messagePlan

func planOf(t reflect.Type) *messagePlan {
	if p, ok := plans.Load(t); ok {
		return p.(*messagePlan)
	}
	p := &messagePlan{}
	for i := range t.NumField() {
		if tag, ok := t.Field(i).Tag.Lookup("protobuf"); ok {
			p.fields = append(p.fields, planField(i, t.Field(i).Type, tag))
		}
	}
	if len(p.fields) > 64 {
		panic("images: more fields than bits in message " + t.String())
	}
	for i := range p.fields {
		f := &p.fields[i]
		f.order = i
		if short := int(f.number) + 1 - len(p.byNumber); short > 0 {
			p.byNumber = append(p.byNumber, make([]*fieldPlan, short)...)
		}
		p.byNumber[f.number] = f
	}
	plans.Store(t, p)
	return p
}

// planField reads a tag such as `varint,5,req,name=blk_sigset,json=blkSigset`, as protoc-gen-go writes it.
func planField(index int, t reflect.Type, tag string) fieldPlan {
	words := strings.Split(tag, ",")
	number, err := strconv.Atoi(words[1])
	if err != nil {
		panic("images: struct tag " + tag)
	}
	f := fieldPlan{index: index, number: protowire.Number(number), required: words[2] == "req", repeated: words[2] == "rep"}
	f.elem = t
	if t.Kind() == reflect.Pointer || f.repeated {
		f.elem = t.Elem()
	}
	if f.repeated && f.elem.Kind() == reflect.Pointer {
		f.elem = f.elem.Elem()
	}
	f.kind = f.elem.Kind()
	f.wire, f.zigzag = wireType(words[0]), strings.HasPrefix(words[0], "zigzag")
	f.name = strings.TrimPrefix(words[3], "name=")
	return f
}

func wireType(word string) protowire.Type {
	switch word {
	case "varint", "zigzag32", "zigzag64":
		return protowire.VarintType
	case "bytes":
		return protowire.BytesType
	case "fixed32":
		return protowire.Fixed32Type
	case "fixed64":
		return protowire.Fixed64Type
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
func Unmarshal(data []byte, m proto.Message) (unknown []string, err error) {
	d := wireDecoder{}
	if err := d.message(data, reflect.ValueOf(m).Elem(), 0); err != nil {
		return nil, err
	}
	if len(d.unknown) > 0 {
		proto.Reset(m)
		if err := proto.Unmarshal(data, m); err != nil {
			return nil, fmt.Errorf("a field of a newer CRIU: %w", err)
		}
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
	var seen uint64
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fieldErr("", "bad field tag 0x%02x", data[0])
		}
		data = data[n:]
		f := plan.field(number)
		if f == nil {
			n = protowire.ConsumeFieldValue(number, wire, data)
			if n < 0 {
				return fieldErr(strconv.Itoa(int(number)), "%v", protowire.ParseError(n))
			}
			d.unknown = append(d.unknown, strconv.Itoa(int(number)))
			data = data[n:]
			continue
		}
		n, err := d.field(f, wire, data, v.Field(f.index), depth)
		if err != nil {
			return err
		}
		seen |= 1 << f.order
		data = data[n:]
	}
	return missing(plan, seen)
}

func missing(plan *messagePlan, seen uint64) error {
	for i := range plan.fields {
		if plan.fields[i].required && seen&(1<<i) == 0 {
			return fieldErr(plan.fields[i].name, "missing")
		}
	}
	return nil
}

// field decodes one occurrence of f at the start of data into v and returns its length.
func (d *wireDecoder) field(f *fieldPlan, wire protowire.Type, data []byte, v reflect.Value, depth int) (int, error) {
	packed := f.repeated && wire == protowire.BytesType && f.wire != protowire.BytesType
	if wire != f.wire && !packed {
		return 0, fieldErr(f.name, "wire type %d, want %d", wire, f.wire)
	}
	if wire != protowire.BytesType {
		value, n := scalar(f, data)
		if n < 0 {
			return 0, fieldErr(f.name, "%v", protowire.ParseError(n))
		}
		f.store(v, value)
		return n, nil
	}
	body, n := protowire.ConsumeBytes(data)
	if n < 0 {
		return 0, fieldErr(f.name, "%v", protowire.ParseError(n))
	}
	if packed {
		return n, f.storePacked(v, body)
	}
	return n, d.bytes(f, body, v, depth)
}

func (f *fieldPlan) storePacked(v reflect.Value, body []byte) error {
	for len(body) > 0 {
		value, n := scalar(f, body)
		if n < 0 {
			return fieldErr(f.name, "%v", protowire.ParseError(n))
		}
		f.store(v, value)
		body = body[n:]
	}
	return nil
}

// scalar reads one number of the field's wire type; a negative length is protowire's error.
func scalar(f *fieldPlan, data []byte) (value uint64, n int) {
	switch f.wire {
	case protowire.Fixed32Type:
		v32, n := protowire.ConsumeFixed32(data)
		return uint64(v32), n
	case protowire.Fixed64Type:
		return protowire.ConsumeFixed64(data)
	}
	value, n = protowire.ConsumeVarint(data)
	if f.zigzag {
		if f.kind == reflect.Int32 {
			value &= 0xffffffff
		}
		value = uint64(protowire.DecodeZigZag(value))
	}
	return value, n
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
	return fmt.Sprintf("%s[%d]", f.name, v.Len()-1)
}
