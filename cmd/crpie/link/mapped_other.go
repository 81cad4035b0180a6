//go:build !linux

package link

import "os"

// mappedFile is a file in memory.
type mappedFile struct{ data []byte }

func mapFile(name string) (*mappedFile, error) {
	data, err := os.ReadFile(name)
	return &mappedFile{data}, err
}

func (m *mappedFile) unmap() {}

func (m *mappedFile) guard(use func([]byte) error) error { return use(m.data) }

func zeros(size uint64) []byte { return make([]byte, size) }
