// Package pb has the messages of CRIU's images as plain structs, with the names and types that protoc-gen-go gives
// them.
//
// What lives here: types, accessors, decoding, and what one needs to fill them in. What never does: their encoding,
// which package images has, and protobuf itself, which initialises more at the start of a process than all of crpie.
// It works on every system.
package pb

import "reflect"

//go:generate go run ../internal/generate types.go

// Message is a pointer to one of the structs of this package. It has no methods, because for each type that becomes an
// interface with methods the runtime puts a pair into a table before main.
type Message any

// to returns a pointer to a value.
func to[T any](v T) *T { return &v }

// Bool, Int32, Int64, Uint32, Uint64 and String make values of optional fields.
func Bool(v bool) *bool       { return to(v) }
func Int32(v int32) *int32    { return to(v) }
func Int64(v int64) *int64    { return to(v) }
func Uint32(v uint32) *uint32 { return to(v) }
func Uint64(v uint64) *uint64 { return to(v) }
func String(v string) *string { return to(v) }

// Clone returns a copy that shares nothing with the message.
func Clone[M Message](m M) M { return clone(reflect.ValueOf(m)).Interface().(M) }

// clone copies what pointers and slices lead to. Nil stays nil, which marks an absent field.
func clone(v reflect.Value) reflect.Value {
	if k := v.Kind(); (k == reflect.Pointer || k == reflect.Slice) && v.IsNil() {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(clone(v.Elem()))
		return c
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(clone(v.Index(i)))
		}
		return c
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			c.Field(i).Set(clone(v.Field(i)))
		}
		return c
	}
	return v
}
