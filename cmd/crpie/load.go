package main

import (
	"debug/elf"
	"fmt"
	"io"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/loader"
)

// machines are the values of --machine.
func machines() map[string]elf.Machine {
	return map[string]elf.Machine{
		"": 0, "amd64": elf.EM_X86_64, "x86-64": elf.EM_X86_64, "x86_64": elf.EM_X86_64,
		"arm64": elf.EM_AARCH64, "aarch64": elf.EM_AARCH64,
	}
}

// stdinName is the file name that stands for standard input.
const stdinName = "-"

// loadFile loads one object by name.
func loadFile(name string, opts loader.Options) (*loader.Plugin, error) {
	f, info, err := files.OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return loader.Load(f, info.Size(), name, opts)
}

// loadFrom is loadFile, or loads standard input if that is the name. The loader refuses more bytes than its limit.
func loadFrom(stdin io.Reader, name string, opts loader.Options) (*loader.Plugin, error) {
	if name != stdinName {
		return loadFile(name, opts)
	}
	data, err := io.ReadAll(io.LimitReader(stdin, loader.DefaultMaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return loader.Parse(data, "stdin", opts)
}
