// Package testenv gives tests a real CRIU and real programs: it gets CRIU, builds the victims of testdata/victims,
// starts, dumps, restores and judges them, compares what /proc says about a process, and cleans up whatever happened.
//
// Nothing outside of tests and benchmarks imports it.
package testenv
