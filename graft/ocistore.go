package graft

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/crpie/crpie/internal/files"
)

// store holds the files of a container image: an OCI image layout, or what docker save writes.
type store interface {
	// open gives a regular file; for a missing one fs.ErrNotExist.
	open(name string) (*stored, error)
}

// stored is one file of a store.
type stored struct {
	*io.SectionReader
	io.Closer
}

// dirStore is a directory.
type dirStore struct{ root *os.Root }

// open opens a blob of a layout. Names come from the image, so they are resolved inside its directory.
func (d dirStore) open(name string) (*stored, error) {
	f, err := files.OpenIn(d.root, name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is a %s, want a regular file", name, files.Kind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &stored{io.NewSectionReader(f, 0, info.Size()), f}, nil
}

// tarStore is an archive whose entries have been listed.
type tarStore struct {
	*tarball
	names map[string]*tarEntry
}

// newTarStore knows the entries of an archive by name. A name that occurs twice is refused: which of the two counts
// depends on the reader.
func newTarStore(t *tarball) (*tarStore, error) {
	s := &tarStore{t, map[string]*tarEntry{}}
	for i := range t.entries {
		e := &t.entries[i]
		name := path.Clean(e.Name)
		if s.names[name] != nil {
			return nil, fmt.Errorf("%q occurs twice", e.Name)
		}
		s.names[name] = e
	}
	return s, nil
}

// open returns the contents where they lie in the archive, without unpacking: tar stores those of a regular file in one
// piece, tar(5). Sparse files and hard links are refused.
func (s *tarStore) open(name string) (*stored, error) {
	e := s.names[path.Clean(name)]
	if e == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if why := e.unfit(); why != "" {
		return nil, fmt.Errorf("%s: %s", name, why)
	}
	return &stored{io.NewSectionReader(s.file, e.data, e.Size), io.NopCloser(nil)}, nil
}

// has reports whether a store has a file.
func has(s store, name string) bool {
	f, err := s.open(name)
	if err == nil {
		f.Close()
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// digest is the name of contents: sha256, in hexadecimal.
type digest string

const blobFolder = "blobs/sha256"

func newDigest(data []byte) digest { return digest(fmt.Sprintf("%x", sha256.Sum256(data))) }

// parseDigest reads "sha256:" and 64 lower-case digits, the only algorithm that tools for images write.
func parseDigest(s string) (digest, error) {
	d, ok := strings.CutPrefix(s, "sha256:")
	if !ok || !isHex(d) {
		return "", fmt.Errorf("digest %.100q: want sha256: and 64 digits", s)
	}
	return digest(d), nil
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 2*sha256.Size && strings.ToLower(s) == s
}

func (d digest) String() string { return "sha256:" + string(d) }

// path is where a layout has the contents.
func (d digest) path() string { return path.Join(blobFolder, string(d)) }

// hashOf reads everything.
func hashOf(r io.Reader) (digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return digest(fmt.Sprintf("%x", h.Sum(nil))), nil
}
