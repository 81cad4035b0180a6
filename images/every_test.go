package images

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
)

// TestEveryField: of every type each field comes back as it was, as protobuf reads it, and is missed if it has to be
// there.
func TestEveryField(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, k := range kinds {
		eachType(reflect.TypeOf(k.new()).Elem(), seen)
	}
	eachType(reflect.TypeFor[pb.CriuReq](), seen)
	eachType(reflect.TypeFor[pb.CriuResp](), seen)
	if len(seen) < 150 {
		t.Errorf("only %d types", len(seen))
	}
	for typ := range seen {
		whole := filled(typ, 0)
		data := marshal(t, whole)
		got := empty(whole)
		if _, err := Unmarshal(data, got); err != nil || !reflect.DeepEqual(got, whole) {
			t.Errorf("%v: %+v becomes %+v, %v", typ, whole, got, err)
		}
		if there := rewritten(t, got, data); !bytes.Equal(there, data) {
			t.Errorf("%v: %x, with protobuf %x", typ, data, there)
		}
		for _, f := range planOf(typ).fields {
			missed(t, whole, f)
			mistyped(t, whole, f)
		}
	}
}

func eachType(typ reflect.Type, seen map[reflect.Type]bool) {
	if seen[typ] {
		return
	}
	seen[typ] = true
	for _, f := range planOf(typ).fields {
		if f.kind == reflect.Struct {
			eachType(f.elem, seen)
		}
	}
}

// filled is a message with a value in each field, lists with two, and no message in itself twice.
func filled(typ reflect.Type, depth int) pb.Message {
	m := reflect.New(typ)
	for i, f := range planOf(typ).fields {
		v := m.Elem().Field(f.index)
		if f.kind == reflect.Struct && depth > 5 && !f.required {
			continue
		}
		switch {
		case f.repeated && f.kind == reflect.Struct:
			v.Set(reflect.Append(v, reflect.ValueOf(filled(f.elem, depth+1)),
				reflect.ValueOf(filled(f.elem, 6))))
		case f.repeated:
			v.Set(reflect.Append(v, value(f.elem, 0), value(f.elem, i+1)))
		case f.kind == reflect.Struct:
			v.Set(reflect.ValueOf(filled(f.elem, depth+1)))
		case v.Kind() == reflect.Slice:
			v.SetBytes([]byte(fmt.Sprint(f.name)))
		default:
			v.Set(reflect.New(f.elem))
			v.Elem().Set(value(f.elem, i))
		}
	}
	return m.Interface().(pb.Message)
}

// value is one that only its type has room for.
func value(typ reflect.Type, i int) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Bool:
		v.SetBool(i%2 == 0)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", i))
	case reflect.Int32, reflect.Int64:
		v.SetInt(-int64(i) << (typ.Bits() - 10))
	default:
		v.SetUint(uint64(i+1) << (typ.Bits() - 9))
	}
	return v
}

// missed takes a required field away.
func missed(t *testing.T, whole pb.Message, f fieldPlan) {
	t.Helper()
	if !f.required {
		return
	}
	without := pb.Clone(whole)
	reflect.ValueOf(without).Elem().Field(f.index).SetZero()
	_, err := Unmarshal(marshal(t, without), empty(whole))
	if want := "field " + f.name + ": missing"; fmt.Sprint(err) != want {
		t.Errorf("%T: %v, want %s", whole, err, want)
	}
}

// mistyped puts a value of another type behind the others.
func mistyped(t *testing.T, whole pb.Message, f fieldPlan) {
	t.Helper()
	wrong := wire.AppendTag(marshal(t, whole), f.number, wire.Fixed32)
	_, err := Unmarshal(append(wrong, 1, 2, 3, 4), empty(whole))
	if want := fmt.Sprintf("field %s: wire type 5, want %d", f.name, f.wire); fmt.Sprint(err) != want {
		t.Errorf("%T: %v, want %s", whole, err, want)
	}
}

// empty is a new message of the same type.
func empty(m pb.Message) pb.Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(pb.Message)
}
