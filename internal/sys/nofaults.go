//go:build !faults

package sys

// fault returns nil: only a test binary that is built with the tag faults has fault points.
func fault(string) error { return nil }
