package contract

import "slices"

// Group is the part of the contract that one C header holds.
type Group struct {
	Name    string // for comments: "the restorer and its core"
	Prefix  string // of names in C; Go's names do without it
	Structs []Struct
	Enums   []Enum
	Numbers []Number
}

// Struct is a struct that Go lays out or reads, little-endian, with the natural alignment that all ABIs of 64 bits
// share.
type Struct struct {
	C, Go   string // Go is empty for structs that Go does not touch
	About   string
	Members []Member
	Use     Use
	Asm     bool // assembly reads it: its offsets are macros as well
}

// Use says what Go does with a struct beyond knowing its offsets.
type Use uint

// The uses.
const (
	Written Use = 1 << iota // by Go, for C
	Read                    // by Go, written by C
)

// Member is one member of a struct.
type Member struct {
	Name  string
	Type  Type
	About string
}

// Type is the type of a member.
type Type struct {
	C       string // element type; empty for pointers, which only the hand-written header has
	Size    int    // of one element, bytes
	Align   int
	Go      string // element type in Go; empty: not laid out by Go
	Len     int    // elements of an array; 0: no array
	Ends    bool   // an array without a length, with which the struct ends
	Union   bool   // the arguments of an operation, by name
	Element *Struct
}

// Enum is a group of constants that belong together.
type Enum struct {
	Go      string // a Go type of their own; empty: untyped
	GoBase  string // of that type: uint32
	About   string
	Kind    Kind // of the arguments that take the values
	Members []Enumerator
}

// Enumerator is one constant of an enum.
type Enumerator struct {
	C, Go string // Go is empty for constants that Go does not use
	Value int
	About string
}

// Number is a constant that stands alone.
type Number struct {
	C, Go string
	Value int
	Text  string // how C writes it, if not in decimal
	About string
	Asm   bool // assembly uses it
}

// Op is an operation of a restore program. Its number is its place in Ops.
type Op struct {
	// CRPIE_OP_<C>, and the member of struct crpie_op that names its arguments; abi.Op<Go> and abi.<Go>
	C, Go string
	About string
	Args  []Arg
	Waits bool // for the controller, or for other threads and tasks, and comes back
	Calls bool // functions of plugins
	Ends  bool // does not come back: nothing after it is carried out
}

// Arg is an argument of an operation: 64 bits.
type Arg struct {
	C     string
	Kind  Kind
	About string
}

// Kind says how an argument is printed.
type Kind string

// The kinds.
const (
	Hidden     Kind = "Hidden" // an address in the plan, of no use to people
	Int        Kind = "Int"
	Hex        Kind = "Hex"
	FD         Kind = "FD"
	String     Kind = "String" // the address of a string
	Bytes      Kind = "Bytes"  // the address of as many bytes as the next argument says
	Sigevent   Kind = "Sigevent"
	Itimerspec Kind = "Itimerspec"
	Mode       Kind = "Mode" // octal
	OpenFlags  Kind = "OpenFlags"
	PipeFlags  Kind = "PipeFlags"
	SockType   Kind = "SockType"
	CloneFlags Kind = "CloneFlags"
	Clock      Kind = "Clock"
	Stage      Kind = "Stage"
	Gate       Kind = "Gate"
	Barrier    Kind = "Barrier"
	Mark       Kind = "Mark"
)

// MaxArgs is how many arguments an operation has room for: those of a system call.
const MaxArgs = 6

// Layout is where the members of a struct lie.
type Layout struct {
	Offsets     []int
	Size, Align int
}

// Layout places members one after the other, each at a multiple of its alignment, psABI 3.1.2.
func (s *Struct) Layout() Layout {
	l := Layout{Align: 1}
	for _, m := range s.Members {
		l.Size = alignUp(l.Size, m.Type.Align)
		l.Offsets = append(l.Offsets, l.Size)
		l.Size += m.Type.bytes()
		l.Align = max(l.Align, m.Type.Align)
	}
	l.Size = alignUp(l.Size, l.Align)
	return l
}

func alignUp(n, align int) int { return (n + align - 1) / align * align }

// bytes returns the size of a member; an array without a length takes none.
func (t Type) bytes() int {
	if t.Ends {
		return 0
	}
	return t.Size * max(t.Len, 1)
}

// Types of members.
var (
	u32 = Type{C: "uint32_t", Size: 4, Align: 4, Go: "uint32"}
	i32 = Type{C: "int32_t", Size: 4, Align: 4, Go: "int32"}
	u64 = Type{C: "uint64_t", Size: 8, Align: 8, Go: "uint64"}
	i64 = Type{C: "int64_t", Size: 8, Align: 8, Go: "int64"}
	ptr = Type{Size: 8, Align: 8, Go: "uint64"}
)

func array(of Type, n int) Type {
	of.Len = n
	return of
}

func text(n int) Type { return Type{C: "char", Size: 1, Align: 1, Go: "byte", Len: n} }

// of is a struct as a member.
func of(s *Struct) Type {
	l := s.Layout()
	return Type{C: "struct " + s.C, Size: l.Size, Align: l.Align, Go: s.Go, Element: s}
}

// ending is an array without a length.
func ending(of Type) Type {
	of.Ends = true
	return of
}

// names lists the Go names of a group, to find one twice.
func (g *Group) names() (all []string) {
	for _, s := range g.Structs {
		all = append(all, s.Go)
	}
	for _, e := range g.Enums {
		for _, m := range e.Members {
			all = append(all, m.Go)
		}
	}
	for _, n := range g.Numbers {
		all = append(all, n.Go)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}
