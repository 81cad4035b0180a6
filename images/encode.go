package images

import (
	"encoding/binary"
	"math"
	"reflect"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
)

// Marshal encodes a message, fields in the order of their numbers and unknown ones behind them, as protobuf's Go
// library does. The error names a required field that is missing.
func Marshal(m pb.Message) ([]byte, error) {
	return (&wireEncoder{}).message(nil, reflect.ValueOf(m).Elem())
}

// wireEncoder encodes one top-level message.
type wireEncoder struct{ partial bool } // partial: required fields may be missing

// message appends a message's fields by number. Of an absent field protobuf writes nothing, of one that is set to 0 a
// 0.
func (e *wireEncoder) message(b []byte, v reflect.Value) (_ []byte, err error) {
	plan := planOf(v.Type())
	for i := range plan.fields {
		f := &plan.fields[i]
		field := v.Field(f.index)
		if absent := field.IsNil(); absent && f.required && !e.partial {
			return nil, fieldErr(f.name, "missing")
		} else if absent {
			continue
		}
		if b, err = e.field(b, f, field); err != nil {
			return nil, err
		}
	}
	return append(b, v.Field(plan.unknown).Bytes()...), nil
}

// field encodes a field that is there.
func (e *wireEncoder) field(b []byte, f *fieldPlan, v reflect.Value) (_ []byte, err error) {
	if !f.repeated {
		return e.value(wire.AppendTag(b, f.number, f.wire), f, v, f.name)
	}
	for i := range v.Len() {
		if b, err = e.value(wire.AppendTag(b, f.number, f.wire), f, v.Index(i),
			wire.Indexed(f.name, i)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// value encodes one value: a pointer, or an element of a list.
func (e *wireEncoder) value(b []byte, f *fieldPlan, v reflect.Value, name string) ([]byte, error) {
	switch {
	case f.kind == reflect.Struct:
		body, err := e.message(nil, v.Elem())
		if err != nil {
			return nil, err.(*wire.FieldError).Inside(name)
		}
		return wire.AppendBytes(b, body), nil
	case v.Kind() == reflect.Slice:
		return wire.AppendBytes(b, v.Bytes()), nil
	case v.Kind() == reflect.Pointer:
		v = v.Elem()
	}
	if f.kind == reflect.String {
		return wire.AppendBytes(b, []byte(v.String())), nil
	}
	return f.appendNumber(b, v), nil
}

// appendNumber encodes a number in the field's wire type.
func (f *fieldPlan) appendNumber(b []byte, v reflect.Value) []byte {
	var n uint64
	switch {
	case v.Kind() == reflect.Bool:
		if v.Bool() {
			n = 1
		}
	case v.CanUint():
		n = v.Uint()
	case f.zigzag:
		n = wire.EncodeZigZag(v.Int())
	default:
		n = uint64(v.Int())
	}
	switch f.wire {
	case wire.Fixed32:
		return binary.LittleEndian.AppendUint32(b, uint32(n&math.MaxUint32))
	case wire.Fixed64:
		return binary.LittleEndian.AppendUint64(b, n)
	}
	return binary.AppendUvarint(b, n)
}
