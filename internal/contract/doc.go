// Package contract describes once what Go and the C inside restored processes share: structs, the operations of restore
// programs, numbers. From its tables "go generate ./internal/abi" writes the C headers of both cores, the Go side
// (package internal/abi) and docs/operations.md; tests compare all of them with the tables, and the tables with what C
// compilers make of the headers, plugin-sdk/include/crpie/abi.h included, which is written by hand. Nothing of a
// restore imports this package.
package contract
