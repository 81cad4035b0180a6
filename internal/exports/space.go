package exports

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// Space is what one process maps, and the files that it maps.
type Space struct {
	Mappings []taskview.VMA // by address
	Program  string         // path of the program
	Open     func(name string) (io.ReaderAt, error)
	Files    *Files // that several processes share

	code  map[string][]int // mappings of code by file, by index
	names []string         // those files, by address
}

// Files are those that have been read. A plan has one, so that what its files say bounds neither memory nor time.
type Files struct {
	byName map[string]*opened
	read   uint64 // bytes
}

// metered is a file of which each byte that is read counts.
type metered struct {
	io.ReaderAt
	all *Files
}

func (m metered) ReadAt(b []byte, off int64) (int, error) {
	if uint64(len(b)) > maxAll-m.all.read {
		return 0, fmt.Errorf("the symbols of all files together have more than %d bytes", uint64(maxAll))
	}
	m.all.read += uint64(len(b))
	return m.ReaderAt.ReadAt(b, off)
}

// opened is a file, or why it cannot be read.
type opened struct {
	file *File
	err  error
}

// Object is a file with the place where it is mapped.
type Object struct {
	Name string
	File *File
	Bias uint64 // what is added to the addresses of the file
}

// isFile reports whether a mapping is one of a file; others have names like [heap].
func isFile(v *taskview.VMA) bool { return strings.HasPrefix(v.Name, "/") }

// Names lists the files of which the process maps code, each once, in the order of their addresses.
func (s *Space) Names() []string {
	s.index()
	return s.names
}

// index sorts the mappings of code by file, once: there may be 65530 of as many files.
func (s *Space) index() {
	if s.code != nil {
		return
	}
	s.code = map[string][]int{}
	for i := range s.Mappings {
		v := &s.Mappings[i]
		if !isFile(v) || v.Prot&uapi.ProtExec == 0 {
			continue
		}
		if s.code[v.Name] == nil {
			s.names = append(s.names, v.Name)
		}
		s.code[v.Name] = append(s.code[v.Name], i)
	}
}

// open reads the headers of a file, once.
func (s *Space) open(name string) (*File, error) {
	if s.Files == nil {
		s.Files = &Files{}
	}
	if s.Files.byName == nil {
		s.Files.byName = map[string]*opened{}
	}
	if o := s.Files.byName[name]; o != nil {
		return o.file, o.err
	}
	o := &opened{}
	var from io.ReaderAt
	if from, o.err = s.Open(name); o.err == nil {
		o.file, o.err = Read(metered{from, s.Files})
	}
	if o.err != nil {
		o.err = fmt.Errorf("read %s: %w", name, o.err)
	}
	s.Files.byName[name] = o
	return o.file, o.err
}

// Object finds a library by its SONAME, the name of its file, or its path; "" is the program. A process that has none
// is an *Absent.
func (s *Space) Object(library string) (*Object, error) {
	names, err := s.named(library)
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, absentf("it is not mapped")
	case len(names) > 1:
		return nil, fmt.Errorf("it is mapped more than once, from %s: give the path", strings.Join(names, " and "))
	}
	return s.ObjectOf(names[0])
}

// named lists the files that a library's name means. SONAMEs are asked for only if no file has the name: each takes a
// file to read.
func (s *Space) named(library string) (found []string, err error) {
	all := s.Names()
	is := func(name string) bool { return name == library || path.Base(name) == library }
	if library == "" {
		is = func(name string) bool { return name == s.Program }
	}
	for _, name := range all {
		if is(name) {
			found = append(found, name)
		}
	}
	if len(found) > 0 || library == "" || strings.Contains(library, "/") {
		return found, nil
	}
	for _, name := range all {
		f, openErr := s.open(name)
		if openErr != nil {
			err = worse(err, unusable(openErr))
		} else if f.Soname() == library {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		err = nil
	}
	return found, err
}

// unusable says that a file that may be the library cannot be read: absent is only what has no file.
func unusable(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return absentf("no file of that name is mapped, and %v", err)
	}
	return fmt.Errorf("no file of that name is mapped, and %w", err)
}

// worse keeps an error that is not just an absence.
func worse(err, next error) error {
	if absent := new(Absent); err == nil || errors.As(err, &absent) {
		return next
	}
	return err
}

// ObjectOf finds the place where a file's code is mapped.
func (s *Space) ObjectOf(name string) (*Object, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	o := &Object{Name: name, File: f}
	known := false
	s.index()
	for _, i := range s.code[name] {
		bias, ok := f.bias(&s.Mappings[i])
		switch {
		case !ok:
			return nil, fmt.Errorf("%s is mapped otherwise than its segments say", name)
		case known && bias != o.Bias:
			return nil, fmt.Errorf("%s is mapped at two places, %#x and %#x", name, o.Bias, bias)
		}
		o.Bias, known = bias, true
	}
	if !known {
		return nil, absentf("it is not mapped")
	}
	return o, nil
}

// bias is the distance between addresses of the file and those of a mapping of its code.
func (f *File) bias(v *taskview.VMA) (bias uint64, ok bool) {
	for _, s := range f.Segments {
		first := memory.PageDown(s.Off)
		if elf.ProgFlag(s.Flags)&elf.PF_X != 0 && v.Pgoff >= first &&
			v.Pgoff-first < s.Filesz+s.Off-first {
			return v.Start - (s.Vaddr + (v.Pgoff - s.Off)), true // both may wrap around, the sum does not
		}
	}
	return 0, false
}

// Find gives the address of a symbol of a library in the process. A variable that the program has a copy of, as
// programs that are not PIE do (R_X86_64_COPY of the psABI), is the program's: the library uses that, too.
func (s *Space) Find(library, symbol, version string) (addr uint64, err error) {
	o, err := s.Object(library)
	if err != nil {
		return 0, err
	}
	found, err := o.File.Lookup(symbol, version)
	if err != nil {
		return 0, err
	}
	if copied, ok := s.copied(o, symbol, &found); ok {
		return copied, nil
	}
	return s.place(o, &found)
}

// copied gives the place of the program's copy of an exported variable.
func (s *Space) copied(of *Object, symbol string, found *Symbol) (addr uint64, ok bool) {
	if !found.Exported || found.Function || of.Name == s.Program {
		return 0, false
	}
	program, err := s.ObjectOf(s.Program)
	if err != nil {
		return 0, false
	}
	dynamic, err := program.File.exported()
	if err != nil {
		return 0, false
	}
	there, _ := dynamic.find(symbol)
	if len(there) != 1 || there[0].Function || there[0].local {
		return 0, false
	}
	addr, err = s.place(program, &there[0].Symbol)
	return addr, err == nil
}

var errMoved = errors.New("its memory is no longer mapped where the file has it")

// place gives the address of a symbol, which has to lie in memory as the file says: code in the file's own.
func (s *Space) place(o *Object, found *Symbol) (uint64, error) {
	addr := found.Value + o.Bias
	v := s.At(addr)
	switch {
	case v == nil || v.Prot == 0:
		return 0, errMoved
	case v.Prot&uapi.ProtExec == 0 && o.File.executable(found.Value):
		return 0, errMoved
	case v.Prot&uapi.ProtExec != 0 && v.Name != o.Name:
		return 0, errMoved
	}
	return addr, nil
}

// executable reports whether an address of the file is in a segment of code.
func (f *File) executable(addr uint64) bool {
	return slices.ContainsFunc(f.Segments, func(s elf.Prog64) bool {
		return addr >= s.Vaddr && addr-s.Vaddr < s.Memsz && elf.ProgFlag(s.Flags)&elf.PF_X != 0
	})
}

// At finds the mapping that an address is in.
func (s *Space) At(addr uint64) *taskview.VMA { return taskview.At(s.Mappings, addr) }

// IsCode reports whether a mapping is one of the object's code.
func (o *Object) IsCode(v *taskview.VMA) bool { return v.Name == o.Name && v.Prot&uapi.ProtExec != 0 }
