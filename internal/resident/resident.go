// Package resident finds the hooks that a process carries itself: arrays criu_hooks[] of the files that it maps, whose
// records are plugin-sdk/include/crpie/resident.h's.
//
// What lives here: which records can be believed. What never does: how a hook is run.
package resident

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

// Symbol is the name of the array.
const Symbol = "criu_hooks"

// Prefix is what the name of a file's hooks begins with in messages, before the name of the file.
const Prefix = "resident:"

// Which files are looked at: Auto and Require take all that have an array, another value is the SONAME, file name or
// path of one.
const (
	Auto    = "auto"
	Require = "require"
)

// Found is what a process carries.
type Found struct {
	Files   []blob.Resident
	Damaged []error // arrays of which nothing is to run
	Other   []error // files that are not those of the dump: nobody knows whether they had arrays
}

// Process is where arrays are looked for.
type Process struct {
	Space *exports.Space
	Read  func(addr uint64, b []byte) error // memory, as it will be when the hooks run

	Unfiltered bool // it has seccomp filters that are suspended while hooks run
	Plugins    int  // as many share the hook table
}

var errUnfiltered = errors.New("the task has seccomp filters, which are suspended while hooks run: code that it chooses " +
	"must not run without them")

// Find looks at the files of a process, in the order of their addresses.
func (p *Process) Find(which string) Found {
	found := p.find(which)
	n := len(found.Files)
	if n > 0 && p.Unfiltered {
		found.Damaged = append(found.Damaged, errUnfiltered)
	}
	if n+p.Plugins > abi.MaxPlugins {
		found.Damaged = append(found.Damaged, fmt.Errorf("%d files have an array %s, beside %d plugins: more than %d", n,
			Symbol, p.Plugins, abi.MaxPlugins))
	}
	return found
}

func (p *Process) find(which string) (found Found) {
	names := p.Space.Names()
	if which != Auto && which != Require {
		o, err := p.Space.Object(which)
		var absent *exports.Absent
		switch {
		case errors.As(err, &absent):
			return found
		case err != nil:
			found.Damaged = append(found.Damaged, fmt.Errorf("%s: %w", which, err))
			return found
		}
		names = []string{o.Name}
	}
	for _, name := range names {
		hooks, err := p.hooksOf(name)
		var absent *exports.Absent
		switch {
		case isOther(err):
			found.Other = append(found.Other, err)
		case errors.As(err, &absent):
		case err != nil:
			found.Damaged = append(found.Damaged, fmt.Errorf("%s of %s: %w", Symbol, name, err))
		case len(hooks) > 0:
			found.Files = append(found.Files, blob.Resident{Name: Prefix + path.Base(name), Hooks: hooks})
		}
	}
	return found
}

// hooksOf reads the array of one file, all of it or nothing. A file that cannot be read, such as one that has been
// deleted, has none: nobody can know.
func (p *Process) hooksOf(name string) ([]blob.ResidentHook, error) {
	o, err := p.Space.ObjectOf(name)
	switch {
	case isOther(err):
		return nil, err
	case err != nil:
		return nil, &exports.Absent{Why: err.Error()}
	}
	array, err := o.File.Exported(Symbol)
	if err != nil {
		return nil, err
	}
	const most = (abi.ResidentMax + 1) * abi.ResidentRecordSize // with the record of zeros
	if array.Function || array.Size < abi.ResidentRecordSize || array.Size > most {
		return nil, fmt.Errorf("it has %d bytes; an array of hooks has %d to %d", array.Size,
			abi.ResidentRecordSize, most)
	}
	raw := make([]byte, array.Size)
	if err := p.Read(array.Value+o.Bias, raw); err != nil {
		return nil, fmt.Errorf("its memory: %w", err)
	}
	return p.records(o, raw)
}

// isOther reports a file that is there and is not the dumped one.
func isOther(err error) bool {
	return errors.Is(err, exports.ErrOtherFile) && !errors.Is(err, fs.ErrNotExist)
}

// records reads an array up to a record of zeros, or its end. Records of a later version may be longer.
func (p *Process) records(o *exports.Object, raw []byte) (hooks []blob.ResidentHook, err error) {
	for at := 0; at < len(raw); {
		rest := raw[at:]
		if len(bytes.Trim(rest[:min(len(rest), abi.ResidentRecordSize)], "\x00")) == 0 {
			break
		}
		size := uint64(0)
		if len(rest) >= 4 {
			size = uint64(binary.LittleEndian.Uint32(rest))
		}
		if size < abi.ResidentRecordSize || size > uint64(len(rest)) || size%8 != 0 {
			return nil, fmt.Errorf("record %d at byte %d has size %d with %d left", len(hooks), at, size, len(rest))
		}
		if len(hooks) == abi.ResidentMax {
			return nil, fmt.Errorf("it has more than %d records", abi.ResidentMax)
		}
		var r abi.ResidentRecord
		r.Get(rest)
		h, err := p.hook(o, &r)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(hooks), err)
		}
		hooks = append(hooks, h)
		at += int(size)
	}
	return hooks, nil
}

// hook judges one record: its function has to begin in code that is mapped from the array's own file.
func (p *Process) hook(o *exports.Object, r *abi.ResidentRecord) (blob.ResidentHook, error) {
	h := blob.ResidentHook{ID: stage.Stage(r.Stage), Priority: r.Priority, Fn: blob.Addr(r.Fn)}
	v := p.Space.At(r.Fn)
	switch {
	case r.ABI == 0 || r.ABI > abi.ResidentVersion:
		return h, fmt.Errorf("it needs version %d; this crpie has version %d", r.ABI, abi.ResidentVersion)
	case h.ID != stage.PreSigreturn && h.ID != stage.PreSigreturnThread:
		return h, fmt.Errorf("its stage is %#x; resident hooks run at %s and %s", r.Stage, stage.PreSigreturn,
			stage.PreSigreturnThread)
	case r.Reserved != 0:
		return h, fmt.Errorf("its reserved member is %#x, not 0", r.Reserved)
	case v == nil || !o.IsCode(v):
		return h, fmt.Errorf("its function %#x is not in code of that file", r.Fn)
	}
	h.Symbol = loader.Demangle(o.File.FunctionAt(r.Fn - o.Bias))
	return h, nil
}
