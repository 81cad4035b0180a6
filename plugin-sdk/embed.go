// Package sdk carries the SDK for plugins, which is C, Rust and makefiles: so the command has it without a checkout. It
// builds on every system; what the files are is said in docs/plugin-guide.md.
package sdk

import "embed"

// Files are headers, the Rust crate, plugin.mk, the examples' sources, and the templates of crpie new. They lie in the
// binary as they are: nothing is unpacked or made before they are read.
//
//go:embed include/crpie/*.h plugin.mk rust/Cargo.toml rust/src/*.rs templates templates/common/.gitignore
//go:embed examples/*.c examples/*.h examples/*.S examples/*.cpp examples/*.rs examples/Makefile examples/resident
var Files embed.FS
