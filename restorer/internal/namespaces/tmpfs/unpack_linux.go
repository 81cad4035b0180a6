package tmpfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
)

// Bounds of an archive. A file system in memory bounds what is written into it; these are for what takes time, or this
// process's own memory.
const (
	maxEntries = 1 << 20
	maxBytes   = 32 << 30 // of an archive when it is unpacked, and of its files with their holes
)

// Unpack fills the directory from a compressed archive.
func Unpack(dir *os.File, archive io.Reader) error {
	plain, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("not a gzip file: %w", err)
	}
	unpacked := &bounded{from: plain, left: maxBytes}
	u := unpacker{dir: dir, tar: tar.NewReader(unpacked), left: maxBytes}
	defer u.closeParent()
	for entries := 0; ; entries++ {
		h, err := u.tar.Next()
		if err == io.EOF {
			if _, err := io.Copy(io.Discard, unpacked); err != nil { // gzip's checksum stands behind everything
				return fmt.Errorf("behind entry %d: %w", entries-1, err)
			}
			return u.finishDirectories()
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", entries, err)
		}
		if entries == maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		if err := u.entry(h); err != nil {
			return fmt.Errorf("entry %d, %s: %w", entries, escape.Name(h.Name), err)
		}
	}
}

// bounded ends an archive that is too long, with an error.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it has more than %d bytes", int64(maxBytes))
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// unpacker is at work on one archive.
type unpacker struct {
	dir    *os.File
	tar    *tar.Reader
	left   int64      // of maxBytes
	late   []metadata // of directories, which get them in the end
	parent *os.File   // directory of the last entry
	at     string     // its path
	buf    []byte
}

// entry makes a file. Its directory is there already: tar lists it before.
func (u *unpacker) entry(h *tar.Header) error {
	if err := checkHeader(h); err != nil {
		return err
	}
	name := clean(h.Name)
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the top is not a directory")
		}
		u.late = append(u.late, metadataOf(h))
		return nil
	}
	parent, leaf, err := u.open(name)
	if err != nil {
		return err
	}
	at := int(parent.Fd())
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(at, leaf, 0o700); err != nil {
			return fmt.Errorf("mkdir: %w", err)
		}
		u.late = append(u.late, metadataOf(h))
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.regular(parent, leaf, h)
	case tar.TypeLink:
		return u.link(parent, leaf, clean(h.Linkname))
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, at, leaf)
	default:
		err = unix.Mknodat(
			at,
			leaf,
			nodeType(h.Typeflag)|0o600,
			int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))),
		)
	}
	if err != nil {
		return fmt.Errorf("make: %w", err)
	}
	m := metadataOf(h)
	return m.set(parent, leaf)
}

// nodeType gives the kind of a special file, mknod(2); 0: it is none.
func nodeType(flag byte) uint32 {
	switch flag {
	case tar.TypeFifo:
		return unix.S_IFIFO
	case tar.TypeChar:
		return unix.S_IFCHR
	case tar.TypeBlock:
		return unix.S_IFBLK
	}
	return 0
}

// checkHeader refuses what CRIU's archives never have.
func checkHeader(h *tar.Header) error {
	const top = 1<<32 - 2 // the highest user id, credentials(7)
	switch {
	case nodeType(h.Typeflag) == 0 && !strings.ContainsRune("0157S2", rune(h.Typeflag)):
		return fmt.Errorf("type %q is not known", h.Typeflag)
	case len(h.Name) >= unix.PathMax || len(h.Linkname) >= unix.PathMax:
		return fmt.Errorf("its name has more than %d bytes", unix.PathMax-1)
	case strings.ContainsRune(h.Name+h.Linkname, 0):
		return errors.New("its name has a NUL in it")
	case h.Uid < 0 || h.Uid > top || h.Gid < 0 || h.Gid > top:
		return fmt.Errorf("owner %d:%d does not exist", h.Uid, h.Gid)
	case h.Devmajor < 0 || h.Devmajor > 1<<12-1 || h.Devminor < 0 || h.Devminor > 1<<20-1:
		return fmt.Errorf("device %d:%d does not exist", h.Devmajor, h.Devminor)
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		return fmt.Errorf("it has an attribute that is not supported, %s", escape.Name(key))
	}
	return nil
}

// clean makes a name relative: tar was run in the directory, so names begin with "./".
func clean(name string) string {
	name = strings.Trim(strings.TrimPrefix(name, "./"), "/")
	if name == "" {
		return "."
	}
	return name
}

// inside keeps a path below the directory, whatever symbolic links the archive has made, openat2(2).
const inside = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// open opens the directory of an entry.
func (u *unpacker) open(name string) (parent *os.File, leaf string, err error) {
	dir, leaf := path.Split(name)
	if leaf == "." || leaf == ".." {
		return nil, "", errors.New("its name leads elsewhere")
	}
	if dir = strings.TrimSuffix(dir, "/"); dir == "" {
		return u.dir, leaf, nil
	}
	if u.parent != nil && u.at == dir {
		return u.parent, leaf, nil
	}
	u.closeParent()
	u.parent, err = sys.OpenIn(u.dir, dir, unix.O_PATH|unix.O_DIRECTORY, inside)
	u.at = dir
	return u.parent, leaf, err
}

func (u *unpacker) closeParent() {
	if u.parent != nil {
		u.parent.Close()
		u.parent = nil
	}
}

// metadata is what a file has besides its contents.
type metadata struct {
	name     string
	uid, gid int
	mode     uint32
	time     int64 // of the last change of the contents: tar has no other, seconds
	link     bool  // a symbolic one
}

// metadataOf keeps the permission bits of the mode: tar(5) has the type of a file in a field of its own.
func metadataOf(h *tar.Header) metadata {
	return metadata{
		clean(h.Name),
		h.Uid,
		h.Gid,
		uint32(h.Mode) & 0o7777,
		h.ModTime.Unix(),
		h.Typeflag == tar.TypeSymlink,
	}
}

// finishDirectories goes from the inside out, so that nothing changes a directory's time again.
func (u *unpacker) finishDirectories() error {
	for i := len(u.late) - 1; i >= 0; i-- {
		at, leaf, m := u.dir, ".", u.late[i]
		var err error
		if m.name != "." {
			at, leaf, err = u.open(m.name)
		}
		if err == nil {
			err = m.set(at, leaf)
		}
		if err != nil {
			return fmt.Errorf("directory %s: %w", escape.Name(m.name), err)
		}
	}
	return nil
}

// set gives them to a file that this process has just made. A change of the owner takes set-user-id bits away, so the
// mode comes after it, chown(2); symbolic links have none.
func (m *metadata) set(parent *os.File, leaf string) error {
	at := int(parent.Fd())
	if err := unix.Fchownat(at, leaf, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", m.uid, m.gid, err)
	}
	if !m.link {
		if err := unix.Fchmodat(at, leaf, m.mode, 0); err != nil {
			return fmt.Errorf("chmod to %#o: %w", m.mode, err)
		}
	}
	times := []unix.Timespec{{Sec: m.time}, {Sec: m.time}}
	if err := unix.UtimesNanoAt(at, leaf, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time to %d: %w", m.time, err)
	}
	return nil
}

// link makes a hard link to a file that the archive had before, and never to one outside of the directory.
func (u *unpacker) link(parent *os.File, leaf, target string) error {
	if target == "." {
		return errors.New("a link to a directory")
	}
	dir, name := path.Split(target)
	if name == ".." || name == "." {
		return errors.New("the link leads elsewhere")
	}
	from, err := sys.OpenIn(u.dir, path.Clean("./"+dir), unix.O_PATH|unix.O_DIRECTORY, inside)
	if err != nil {
		return fmt.Errorf("link to %s: %w", escape.Name(target), err)
	}
	defer from.Close()
	if err := unix.Linkat(int(from.Fd()), name, int(parent.Fd()), leaf, 0); err != nil {
		return fmt.Errorf("link to %s: %w", escape.Name(target), err)
	}
	return nil
}

// regular makes a file with its contents.
func (u *unpacker) regular(parent *os.File, leaf string, h *tar.Header) error {
	if u.left -= h.Size; h.Size > maxBytes || u.left < 0 {
		return fmt.Errorf("the files have more than %d bytes, with their holes", int64(maxBytes))
	}
	fd, err := unix.Openat(int(parent.Fd()), leaf,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make: %w", err)
	}
	file := os.NewFile(uintptr(fd), leaf)
	defer file.Close()
	if err := u.contents(file, h); err != nil {
		return err
	}
	m := metadataOf(h)
	return m.set(parent, leaf)
}

const pageSize = 4096

// contents writes a file. Of a file that had holes, pages of zeros stay holes.
func (u *unpacker) contents(file *os.File, h *tar.Header) error {
	if u.buf == nil {
		u.buf = make([]byte, 64*pageSize)
	}
	if err := file.Truncate(h.Size); err != nil {
		return err
	}
	for offset := int64(0); offset < h.Size; {
		n, err := io.ReadFull(u.tar, u.buf[:min(int64(len(u.buf)), h.Size-offset)])
		if err != nil {
			return fmt.Errorf("contents at %d: %w", offset, err)
		}
		if err := writeAt(file, u.buf[:n], offset, h.Typeflag == tar.TypeGNUSparse); err != nil {
			return err
		}
		offset += int64(n)
	}
	return nil
}

var zeros [64 * pageSize]byte

// writeAt writes a piece of a file. In a sparse one, pages of zeros stay holes.
func writeAt(file *os.File, b []byte, offset int64, sparse bool) error {
	if !sparse {
		_, err := file.WriteAt(b, offset)
		return err
	}
	if bytes.Equal(b, zeros[:len(b)]) {
		return nil
	}
	for len(b) > 0 {
		page := b[:min(len(b), pageSize)]
		if !bytes.Equal(page, zeros[:len(page)]) {
			if _, err := file.WriteAt(page, offset); err != nil {
				return err
			}
		}
		b, offset = b[len(page):], offset+int64(len(page))
	}
	return nil
}
