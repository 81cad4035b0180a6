package main

import (
	"debug/elf"
	"fmt"
	"os"

	"github.com/crpie/crpie/loader"
)

// machines are the values of --machine.
var machines = map[string]elf.Machine{
	"": 0, "amd64": elf.EM_X86_64, "x86-64": elf.EM_X86_64, "x86_64": elf.EM_X86_64,
	"arm64": elf.EM_AARCH64, "aarch64": elf.EM_AARCH64,
}

// loadFile loads one object by name.
func loadFile(name string, opts loader.Options) (*loader.Plugin, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("load %s: not a regular file", name)
	}
	return loader.Load(f, info.Size(), name, opts)
}
