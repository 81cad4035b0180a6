package images

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
)

// Encoding (encode.go) follows the struct tags of package pb, which are protoc-gen-go's; decoding is generated from
// them, because every restore waits for it.

// Unmarshal decodes one message. The error names the field; unknown lists fields that m has no place for (they are kept
// in m all the same), of many the first hundred.
func Unmarshal(data []byte, m pb.Message) (unknown []string, err error) { return pb.Unmarshal(data, m) }

func fieldErr(path, format string, args ...any) *wire.FieldError {
	return &wire.FieldError{Path: path, Cause: fmt.Sprintf(format, args...)}
}

// messagePlan is what the struct tags of one message type say.
type messagePlan struct {
	fields  []fieldPlan // in the order of their numbers
	unknown int         // index of the member Unknown
}

type fieldPlan struct {
	index    int // in the struct
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

// planOf returns how a struct is encoded, which its tags say; computed once for a type.
func planOf(t reflect.Type) *messagePlan {
	if p, ok := plans.Load(t); ok {
		return p.(*messagePlan)
	}
	p := &messagePlan{}
	for i := range t.NumField() {
		member := t.Field(i)
		tag, ok := strings.CutPrefix(string(member.Tag), `protobuf:"`)
		if !ok {
			p.unknown = i
			continue
		}
		p.fields = append(p.fields, planField(i, member.Type, strings.TrimSuffix(tag, `"`)))
	}
	slices.SortFunc(p.fields, func(a, b fieldPlan) int { return cmp.Compare(a.number, b.number) })
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

// wireType translates the first word of a struct tag, which protoc-gen-go writes; zigzag numbers are varints on the
// wire.
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
