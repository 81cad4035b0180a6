package restorer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/crpie/crpie/images/pb"
)

// A file that the images name by its path must still be what it was: of the same kind, size, mode and build id.

// File types of st_mode, inode(7).
const (
	sIfmt  = 0o170000
	sIfreg = 0o100000
	sIfdir = 0o040000
	sIfifo = 0o010000
	sIfchr = 0o020000

	sIflnk, sIfblk, sIfsock = 0o120000, 0o060000, 0o140000
)

// FileValidation says how files are compared with what they were at the dump, --file-validation of criu(8).
type FileValidation string

// The methods, the default first.
const (
	ByBuildID  FileValidation = "buildid"
	ByFileSize FileValidation = "filesize"
)

// FileValidations lists them.
func FileValidations() []FileValidation { return []FileValidation{ByBuildID, ByFileSize} }

// regular checks that a file which the images name by path is still what it was, and gives the path. It says once what is
// wrong with a file, however many mappings and tasks have it.
func (p *fileRoom) regular(id uint32, where string) (name string, ok bool) {
	reg := p.dir.Files[id].GetReg()
	if reg == nil {
		p.refuse(where, "", "file %#x of files.img is no regular file", id)
		return "", false
	}
	name = reg.GetName()
	ok, checked := p.validated[id]
	if !checked {
		ok = p.validate(where, name, reg)
		p.validated[id] = ok
	}
	return name, ok
}

func (p *fileRoom) validate(where, name string, reg *pb.RegFileEntry) bool {
	switch {
	case reg.GetExt():
		p.refuse(where, "give it an open file: --inherit-fd fd[N]:"+name[1:], "%s was dumped as external", name)
		return false
	case name == "" || name[0] != '/':
		p.refuse(where, "", "path %q is not absolute", name)
		return false
	}
	return p.sameFile(where, name, reg.Size, reg.Mode) && p.sameMode(where, name, reg) && p.sameBuild(where, name, reg)
}

// sameFile compares kind and size.
func (p *fileRoom) sameFile(where, name string, size *uint64, mode *uint32) bool {
	info, err := p.lookAt(name, mode)
	if err != nil {
		fix := ""
		if errors.Is(err, fs.ErrNotExist) {
			fix = "put back the file that was there at dump time"
		}
		p.refuse(where, fix, "%v", err)
		return false
	}
	if mode != nil && *mode&sIfmt != unixMode(info.Mode())&sIfmt {
		p.refuse(where, "put back the file that was there at dump time",
			"%s is a different kind of file than it was at dump time (mode %#o)", name, *mode)
		return false
	}
	isReg := mode == nil || *mode&sIfmt == sIfreg
	if size != nil && isReg && info.Mode().IsRegular() && uint64(info.Size()) != *size {
		p.refuse(where, "put back the file as it was at dump time",
			"%s has %d bytes, but had %d at dump time", name, info.Size(), *size)
		return false
	}
	return true
}

// lookAt looks at a file, or at the symbolic link itself that a descriptor is of: O_PATH with O_NOFOLLOW, open(2).
func (p *fileRoom) lookAt(name string, mode *uint32) (fs.FileInfo, error) {
	if mode != nil && *mode&sIfmt == sIflnk {
		return p.host.Lstat(name)
	}
	return p.host.Stat(name)
}

// sameMode compares what else st_mode has, inode(7): with --skip-file-rwx-check only the bits above the permissions.
func (p *fileRoom) sameMode(where, name string, reg *pb.RegFileEntry) bool {
	const rwx = 0o777
	info, err := p.lookAt(name, reg.Mode)
	if err != nil || reg.Mode == nil {
		return true // sameFile has said so
	}
	compared := ^uint32(sIfmt)
	if p.opts.SkipFileRWX {
		compared &^= rwx
	}
	is, was := unixMode(info.Mode())&compared, reg.GetMode()&compared
	if is == was {
		return true
	}
	fix := fmt.Sprintf("chmod %04o %s", reg.GetMode()&^sIfmt, name)
	if (is^was)&^rwx == 0 {
		fix += ", or restore with --skip-file-rwx-check"
	}
	p.refuse(where, fix, "%s has mode %04o, but had %04o at dump time", name, is, was)
	return false
}

// sameBuild compares build ids. The dump has the id of every ELF file that had one, criu(8) --file-validation.
func (p *fileRoom) sameBuild(where, name string, reg *pb.RegFileEntry) bool {
	if p.opts.FileValidation == ByFileSize {
		return true
	}
	if reg.Checksum != nil {
		p.refuse(where, "compare only sizes: --file-validation filesize",
			"the images have a checksum of %s, which no released CRIU writes: not supported", name)
		return false
	}
	if len(reg.GetBuildId()) == 0 || reg.Size == nil {
		return true
	}
	is, was := readBuildID(hostFile{p.host, name}), imageBuildID(reg)
	if bytes.Equal(padded(is), was) {
		return true
	}
	now := fmt.Sprintf("has build id %x", is)
	if is == nil {
		now = "has no build id"
	}
	p.refuse(where, "put back the build that was there at dump time; --file-validation filesize compares only sizes",
		"%s %s, but had %x at dump time: it is another build", name, now, was[:min(len(was), maxBuildID)])
	return false
}

// imageBuildID gives the id as the images have it: in words of 32 bits, the last one filled up with zeros.
func imageBuildID(reg *pb.RegFileEntry) []byte {
	var id []byte
	for _, word := range reg.GetBuildId() {
		id = binary.LittleEndian.AppendUint32(id, word)
	}
	return id
}

func padded(id []byte) []byte { return append(id, make([]byte, -len(id)&3)...) }

// hostFile reads a file of the host's.
type hostFile struct {
	host *Host
	name string
}

func (f hostFile) ReadAt(b []byte, off int64) (int, error) { return f.host.ReadFileAt(f.name, b, off) }

// unixMode gives st_mode, inode(7).
func unixMode(m fs.FileMode) uint32 {
	mode := unixType(m) | uint32(m.Perm())
	for _, bit := range []struct {
		of fs.FileMode
		is uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.of != 0 {
			mode |= bit.is
		}
	}
	return mode
}

// unixType gives the S_IFMT bits of a mode, inode(7).
func unixType(m fs.FileMode) uint32 {
	switch t := m.Type(); {
	case t == 0:
		return sIfreg
	case t&fs.ModeDir != 0:
		return sIfdir
	case t&fs.ModeCharDevice != 0:
		return sIfchr
	case t&fs.ModeDevice != 0:
		return sIfblk
	case t&fs.ModeNamedPipe != 0:
		return sIfifo
	case t&fs.ModeSocket != 0:
		return sIfsock
	case t&fs.ModeSymlink != 0:
		return sIflnk
	}
	return 0
}
