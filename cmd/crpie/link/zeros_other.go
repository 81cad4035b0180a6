//go:build !linux

package link

func zeros(size uint64) []byte { return make([]byte, size) }
