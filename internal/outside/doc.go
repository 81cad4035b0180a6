// Package outside holds the test that uses this module as an importer does: from another module, without its internal
// packages. It also walks what the public packages export. Restores need Linux on x86-64, so does the importer.
package outside
