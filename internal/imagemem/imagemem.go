// Package imagemem reads the memory of a dumped task: pages that the images have, and for others what the mapped file
// has, or zeros. It opens no file.
package imagemem

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/buildid"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
)

// Reader gives a function that reads memory of a task. space has its mappings and files.
func Reader(dir *images.Dir, t *images.Task, space *exports.Space) func(addr uint64, b []byte) error {
	m := &taskMemory{dir: dir, task: t, space: space}
	return m.read
}

// taskMemory resolves the pagemap when something is read.
type taskMemory struct {
	dir    *images.Dir
	task   *images.Task
	space  *exports.Space
	pieces []images.Piece
	err    error
	known  bool
}

func (m *taskMemory) read(addr uint64, b []byte) error {
	if !m.known {
		m.pieces, m.err = m.dir.Pieces(m.task.Pagemap)
		m.known = true
	}
	if m.err != nil {
		return m.err
	}
	for len(b) > 0 {
		n := min(uint64(len(b)), memory.PageSize-addr%memory.PageSize)
		if err := m.readPage(addr, b[:n]); err != nil {
			return err
		}
		addr, b = addr+n, b[n:]
	}
	return nil
}

// readPage reads within one page.
func (m *taskMemory) readPage(addr uint64, b []byte) error {
	v := m.space.At(addr)
	if v == nil {
		return fmt.Errorf("nothing is mapped at %#x", addr)
	}
	page := memory.PageDown(addr)
	i := sort.Search(len(m.pieces), func(i int) bool { return m.pieces[i].End() > page })
	if i < len(m.pieces) && m.pieces[i].Vaddr <= page {
		bytes, err := m.dir.Read(m.pieces[i].Cut(page, page+memory.PageSize).Range())
		if err != nil {
			return err
		}
		copy(b, bytes[addr-page:])
		return nil
	}
	clear(b)
	if !strings.HasPrefix(v.Name, "/") {
		return nil
	}
	from, err := m.space.Open(v.Name)
	if err != nil {
		return err
	}
	if _, err := from.ReadAt(b, int64(v.Pgoff+(addr-v.Start))); err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", v.Name, err)
	}
	return nil
}

// OpenFile opens a file of the tasks by the path that they know it by, and gives its size.
type OpenFile func(name string) (from io.ReaderAt, size int64, err error)

// Space is what a task maps, with files that have to be those of the dump; open may be nil: there are none.
func Space(dir *images.Dir, t *images.Task, files *exports.Files, open OpenFile) *exports.Space {
	return &exports.Space{
		Mappings: taskview.VMAs(dir, t.Mm),
		Program:  dir.Files[t.Mm.GetExeFileId()].GetReg().GetName(), Files: files,
		Open: func(name string) (io.ReaderAt, error) {
			if open == nil {
				return nil, fmt.Errorf("%w: there are no files: %w", exports.ErrOtherFile, fs.ErrNotExist)
			}
			from, size, err := open(name)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", exports.ErrOtherFile, err)
			}
			return from, sameFile(dir, name, from, size)
		},
	}
}

// sameFile compares size and build id with what the images have, as CRIU does. They may have several files of one name,
// each that of another mount namespace, or of another time: none of them is taken for another.
func sameFile(dir *images.Dir, name string, from io.ReaderAt, size int64) error {
	is, described := buildid.Read(from), false
	for _, id := range slices.Sorted(maps.Keys(dir.Files)) {
		was := dir.Files[id].GetReg()
		if was.GetName() != name {
			continue
		}
		described = true
		if err := compare(was, is, size); err != nil {
			return err
		}
	}
	if !described {
		return fmt.Errorf("%w: the images do not describe it", exports.ErrOtherFile)
	}
	return nil
}

func compare(was *pb.RegFileEntry, is []byte, size int64) error {
	switch {
	case was.Size != nil && was.GetSize() != uint64(size):
		return fmt.Errorf("%w: it has %d bytes, but had %d", exports.ErrOtherFile, size, was.GetSize())
	case len(was.GetBuildId()) > 0 && !buildid.Same(is, was):
		return fmt.Errorf("%w: it has build id %x", exports.ErrOtherFile, is)
	}
	return nil
}
