package changes

import (
	"debug/dwarf"
	"errors"
	"slices"
	"strings"
)

// types reads the types of one object. debug/dwarf calls itself for each type that another leads to, and does not come
// back from a typedef of itself; so types are looked through before.
type types struct {
	data    *dwarf.Data
	seen    map[dwarf.Offset]bool
	aliases map[dwarf.Offset]dwarf.Offset // of types that are as large as another, or as some of it
	left    int                           // entries that may be looked at
	err     error                         // the first; debug/dwarf keeps what it has read of the type
}

// Bounds of the entries that the types of one object may have, and of how many aliases may follow each other.
const (
	maxEntries = 1 << 17
	maxAliases = 32
)

var errTypes = errors.New("a type of too many others")

func newTypes(data *dwarf.Data) *types {
	return &types{data: data, seen: map[dwarf.Offset]bool{}, aliases: map[dwarf.Offset]dwarf.Offset{},
		left: maxEntries}
}

// at reads the type at an offset.
func (t *types) at(off dwarf.Offset) (dwarf.Type, error) {
	var fresh []dwarf.Offset
	for queue := []dwarf.Offset{off}; len(queue) > 0 && t.err == nil; queue = queue[1:] {
		if !t.seen[queue[0]] {
			t.seen[queue[0]] = true
			fresh = append(fresh, queue[0])
			queue = append(queue, t.next(queue[0])...)
		}
	}
	for _, start := range fresh {
		t.follow(start)
	}
	if t.err != nil {
		return nil, t.err
	}
	return t.data.Type(off)
}

// follow looks for the end of a row of aliases.
func (t *types) follow(off dwarf.Offset) {
	for range maxAliases {
		next, more := t.aliases[off]
		if !more {
			return
		}
		off = next
	}
	t.err = errTypes
}

// next lists the types that a type leads to: its own, and those of its members or parameters.
func (t *types) next(off dwarf.Offset) (leads []dwarf.Offset) {
	r := t.data.Reader()
	r.Seek(off)
	for depth := 0; t.err == nil; {
		e, err := r.Next()
		if t.left--; err != nil || e == nil || t.left < 0 {
			t.err = errTypes
			return nil
		}
		if e.Tag == 0 {
			depth--
		} else if depth <= 1 {
			leads = append(leads, t.typeOf(e)...)
		}
		if e.Tag != 0 && e.Children {
			depth++
		}
		if depth == 0 {
			break
		}
	}
	return leads
}

// typeOf reads which type an entry has. Types in units of their own, DW_FORM_ref_sig8, are not followed.
func (t *types) typeOf(e *dwarf.Entry) []dwarf.Offset {
	switch at := e.Val(dwarf.AttrType).(type) {
	case dwarf.Offset:
		switch e.Tag {
		case dwarf.TagTypedef, dwarf.TagConstType, dwarf.TagVolatileType, dwarf.TagRestrictType,
			dwarf.TagArrayType:
			t.aliases[e.Offset] = at
		}
		return []dwarf.Offset{at}
	case uint64:
		t.err = errTypes
	}
	return nil
}

// maxSpelled bounds how many types a type's name is made of.
const maxSpelled = 256

// typeName spells a type as C does.
func typeName(t dwarf.Type) string {
	if left := maxSpelled; !spellable(t, &left) {
		return errTypes.Error()
	}
	if pointer, ok := t.(*dwarf.PtrType); ok {
		return strings.TrimSpace(typeName(pointer.Type) + " *")
	}
	return t.String()
}

// spellable reports whether the name of a type comes to an end. It follows what the methods String of debug/dwarf do.
func spellable(t dwarf.Type, left *int) bool {
	if *left--; *left < 0 {
		return false
	}
	var parts []dwarf.Type
	switch t := t.(type) {
	case *dwarf.PtrType:
		parts = append(parts, t.Type)
	case *dwarf.QualType:
		parts = append(parts, t.Type)
	case *dwarf.ArrayType:
		parts = append(parts, t.Type)
	case *dwarf.FuncType:
		parts = append(slices.Clone(t.ParamType), t.ReturnType)
	case *dwarf.StructType:
		for _, f := range t.Field {
			if t.StructName == "" {
				parts = append(parts, f.Type)
			}
		}
	}
	return !slices.ContainsFunc(parts, func(t dwarf.Type) bool { return !spellable(t, left) })
}
