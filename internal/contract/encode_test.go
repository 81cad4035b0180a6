package contract

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

// reader is a struct that Go reads.
type reader interface{ Get(b []byte) }

var written = []memory.Record{
	&abi.ParamPair{}, &abi.VMA{}, &abi.MM{}, &abi.Regs{}, &abi.Timer{}, &abi.Ctx{},
	&abi.ResidentRecord{}, &abi.Table{}, &abi.TablePlugin{}, &abi.TableHook{},
	&abi.OpRecord{}, &abi.Run{}, &abi.Pidfd{}, &abi.File{},
	&abi.Thread{}, &abi.Task{}, &abi.Plan{}, &abi.StubCall{}, &abi.GraftThread{}, &abi.GraftTask{},
	&abi.GraftRenewal{},
}

var read = []reader{&abi.GraftStatus{}, &abi.Thread{}, &abi.Task{}, &abi.Status{}, &abi.Call{}, &abi.LogRecord{},
	&abi.GraftTold{}, &abi.Regs{}, &abi.Timer{}, &abi.ResidentRecord{}}

var operations = []abi.Operation{
	abi.Pipe{}, abi.Socketpair{}, abi.OpenUnlinked{}, abi.OpenPty{}, abi.InsertInput{}, abi.OpenExitedPidfds{},
	abi.OpenExitedProc{},
	abi.DrainEvents{}, abi.ReadPages{}, abi.UpdatePages{}, abi.CopyMemory{}, abi.SetupAio{}, abi.CreateTimer{},
	abi.ExpireTimer{}, abi.StartTimer{},
	abi.CloneTask{}, abi.CloneThread{}, abi.RunTask{}, abi.SetPdeathsig{}, abi.WaitTraced{}, abi.WaitGate{},
	abi.ArriveBarrier{},
	abi.WaitBarrier{}, abi.SetMark{}, abi.WaitMark{}, abi.Notify{}, abi.UnshareStatus{}, abi.RunHooks{},
	abi.Park{}, abi.ExitGroup{},
}

// Go writes each member of each struct exactly where C has it.
func TestStructsAreWrittenWhereCReads(t *testing.T) {
	c, seen := layouts(t), 0
	for _, g := range all() {
		for _, s := range g.Structs {
			if s.Use&Written == 0 {
				continue
			}
			seen++
			i := slices.IndexFunc(written, func(r memory.Record) bool {
				return reflect.TypeOf(r).Elem().Name() == s.Go
			})
			if i < 0 {
				t.Fatalf("abi.%s is not tried", s.Go)
			}
			for k, m := range s.Members {
				record := reflect.New(reflect.TypeOf(written[i]).Elem())
				ones(record.Elem().Field(k))
				b := make([]byte, c["sizeof(struct "+s.C+")"])
				record.Interface().(memory.Record).Put(b)
				if want := c.member(&s, &m); !bytes.Equal(b, want) {
					t.Errorf("abi.%s.%s is written as\n% x, C reads\n% x", s.Go, camel(m.Name), b,
						want)
				}
			}
		}
	}
	if seen != len(written) {
		t.Errorf("%d structs were tried of %d", seen, len(written))
	}
}

// Go reads each member of each struct from where C has it.
func TestStructsAreReadWhereCWrites(t *testing.T) {
	c, seen := layouts(t), 0
	for _, g := range all() {
		for _, s := range g.Structs {
			if s.Use&Read == 0 {
				continue
			}
			seen++
			i := slices.IndexFunc(read, func(r reader) bool {
				return reflect.TypeOf(r).Elem().Name() == s.Go
			})
			if i < 0 {
				t.Fatalf("abi.%s is not tried", s.Go)
			}
			for k, m := range s.Members {
				got, want := reflect.New(reflect.TypeOf(read[i]).Elem()),
					reflect.New(reflect.TypeOf(read[i]).Elem())
				got.Interface().(reader).Get(c.member(&s, &m))
				ones(want.Elem().Field(k))
				if !reflect.DeepEqual(got.Interface(), want.Interface()) {
					t.Errorf("abi.%s is read as %+v where only %s is set", s.Go, got.Elem(), m.Name)
				}
			}
		}
	}
	if seen != len(read) {
		t.Errorf("%d structs were tried of %d", seen, len(read))
	}
}

// Each argument of each operation is where C's name for it is.
func TestOperationsAreEncodedWhereCReads(t *testing.T) {
	c := layouts(t)
	for i, op := range Ops()[1:] {
		encoded := operations[i]
		if name := reflect.TypeOf(encoded).Name(); name != op.Go {
			t.Fatalf("operation %d is abi.%s, the table has %s", i+1, name, op.Go)
		}
		for k, a := range op.Args {
			v := reflect.New(reflect.TypeOf(encoded)).Elem()
			ones(v.Field(k))
			code, args := v.Interface().(abi.Operation).Encode()
			record := abi.OpRecord{Code: uint32(code), Arg: args}
			b := make([]byte, abi.OpRecordSize)
			record.Put(b)
			want := make([]byte, len(b))
			want[c["offsetof(struct crpie_op, code)"]] = byte(c["CRPIE_OP_"+op.C])
			copy(want[c[fmt.Sprintf("offsetof(struct crpie_op, %s.%s)", op.member(), a.C)]:],
				bytes.Repeat([]byte{0xff}, 8))
			if !bytes.Equal(b, want) {
				t.Errorf("%s.%s is encoded as\n% x, C reads\n% x", op.Go, a.C, b, want)
			}
		}
	}
}

// layouts is what gcc makes of the headers.
func layouts(t *testing.T) numbers {
	t.Helper()
	return facts(t, "gcc", slices.Sorted(maps.Keys(whole())))
}

// member returns a struct in which a member's bits are all ones, by C's offsets.
func (c numbers) member(s *Struct, m *Member) []byte {
	b := make([]byte, c["sizeof(struct "+s.C+")"])
	size := c[fmt.Sprintf("sizeof(((struct %s *)0)->%s)", s.C, m.Name)]
	copy(b[c[fmt.Sprintf("offsetof(struct %s, %s)", s.C, m.Name)]:], bytes.Repeat([]byte{0xff}, int(size)))
	return b
}

// ones sets all bits of a number, of the elements of an array, of the members of a struct.
func ones(v reflect.Value) {
	switch v.Kind() {
	case reflect.Array:
		for i := range v.Len() {
			ones(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			ones(v.Field(i))
		}
	default:
		if v.CanInt() {
			v.SetInt(-1)
		} else {
			v.SetUint(1<<v.Type().Bits() - 1)
		}
	}
}
