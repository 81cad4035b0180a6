package loader

import (
	"debug/elf"
	"fmt"
	"io"
)

// Options says what an object is loaded for. The zero value asks for a plugin for any supported machine.
type Options struct {
	Machine elf.Machine // wanted machine; 0 accepts every supported one
	Core    bool        // the object registers no hooks: the restorer core, or code for `crpie link`
	// accept R_X86_64_32 and 32S; whether the addresses fit is seen when they are known
	AllowAbs32    bool
	Defined       map[string]uint64 // addresses of symbols that the object does not define
	MaxFile       int64             // bytes of the file; 0 means 256 MiB
	MaxMemory     uint64            // bytes of memory laid out; 0 means 256 MiB
	MaxViolations int               // kept in an Error, and notes kept in a Plugin; 0 means 1000
	NoLines       bool              // do not look up file:line in DWARF for violations
}

// Defaults of Options. A plugin is copied into every restored task, so the memory limit is about mistakes
// (char buf[3L<<30]), not about what could be placed.
const (
	DefaultMaxFile       = 256 << 20
	defaultMaxMemory     = 256 << 20
	defaultMaxViolations = 1000
)

// withDefaults fills in the limits that are 0.
func (o Options) withDefaults() Options {
	if o.MaxFile == 0 {
		o.MaxFile = DefaultMaxFile
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = defaultMaxMemory
	}
	if o.MaxViolations == 0 {
		o.MaxViolations = defaultMaxViolations
	}
	return o
}

// Load reads an object of size bytes and validates it; name is used in messages, and names a plugin without a record.
// What breaks the rules is reported as an *Error; any other error came from r.
func Load(r io.ReaderAt, size int64, name string, opts Options) (*Plugin, error) {
	if limit := opts.withDefaults().MaxFile; size > limit {
		v := Violation{
			Code:    CodeTooLarge,
			Message: fmt.Sprintf("file of %d bytes exceeds the limit of %d", size, limit),
			Fix:     Rule(CodeTooLarge).Fix,
		}
		return nil, &Error{File: name, Violations: []Violation{v}}
	}
	data := make([]byte, max(size, 0))
	if n, err := r.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("load %s: read: %w", name, err)
	}
	return Parse(data, name, opts)
}
