package file

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/buildid"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// regular checks that a file which the images name by path is still what it was, and gives the path. It says once what
// is wrong with a file, however many mappings and tasks have it.
func (p *Room) regular(id uint32, where string) (name string, ok bool) {
	reg := p.Dir.Files[id].GetReg()
	if reg == nil {
		p.Refuse(where, "", "file %#x of files.img is not a regular file", id)
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

// validate compares a file with what it was at the dump: type, size, mode, and with --file-validation its build id.
func (p *Room) validate(where, name string, reg *pb.RegFileEntry) bool {
	switch {
	case reg.GetExt():
		p.Refuse(where, "give it an open file: --inherit-fd fd[N]:"+name[1:], "%s was dumped as external", name)
		return false
	case name == "" || name[0] != '/':
		p.Refuse(where, "", "path %q is not absolute", name)
		return false
	}
	return p.sameFile(where, name, reg.Size, reg.Mode) && p.sameMode(where, name, reg) &&
		p.sameBuild(where, name, reg)
}

// sameFile compares kind and size.
func (p *Room) sameFile(where, name string, size *uint64, mode *uint32) bool {
	info, err := p.lookAt(name, mode)
	switch {
	case errors.Is(err, host.ErrUnseen):
		return false
	case err != nil:
		fix := ""
		if errors.Is(err, fs.ErrNotExist) {
			fix = "put back the file that was there at dump time"
		}
		p.Refuse(where, fix, "%v", err)
		return false
	}
	if mode != nil && *mode&uapi.SIfmt != uapi.UnixMode(info.Mode())&uapi.SIfmt {
		p.Refuse(where, "put back the file that was there at dump time",
			"%s is a different kind of file than it was at dump time (mode %#o)", name, *mode)
		return false
	}
	isReg := mode == nil || *mode&uapi.SIfmt == uapi.SIfreg
	if size != nil && isReg && info.Mode().IsRegular() && uint64(info.Size()) != *size {
		p.Refuse(where, "put back the file as it was at dump time",
			"%s has %d bytes, but had %d at dump time", name, info.Size(), *size)
		return false
	}
	return true
}

// lookAt looks at a file, or at the symbolic link itself that a descriptor is of: O_PATH with O_NOFOLLOW, open(2).
func (p *Room) lookAt(name string, mode *uint32) (fs.FileInfo, error) {
	if mode != nil && *mode&uapi.SIfmt == uapi.SIflnk {
		return p.Host.Lstat(name)
	}
	return p.Host.Stat(name)
}

// sameMode compares what else st_mode has, inode(7): with --skip-file-rwx-check only the bits above the permissions.
func (p *Room) sameMode(where, name string, reg *pb.RegFileEntry) bool {
	const rwx = 0o777
	info, err := p.lookAt(name, reg.Mode)
	if err != nil || reg.Mode == nil {
		return true // sameFile has said so
	}
	compared := ^uint32(uapi.SIfmt)
	if p.Opts.SkipFileRWX {
		compared &^= rwx
	}
	is, was := uapi.UnixMode(info.Mode())&compared, reg.GetMode()&compared
	if is == was {
		return true
	}
	fix := fmt.Sprintf("chmod %04o %s", reg.GetMode()&^uapi.SIfmt, name)
	if (is^was)&^rwx == 0 {
		fix += ", or restore with --skip-file-rwx-check"
	}
	p.Refuse(where, fix, "%s has mode %04o, but had %04o at dump time", name, is, was)
	return false
}

// sameBuild compares build ids. The dump has the id of every ELF file that had one, criu(8) --file-validation.
func (p *Room) sameBuild(where, name string, reg *pb.RegFileEntry) bool {
	if p.Opts.FileValidation == job.ByFileSize {
		return true
	}
	if reg.Checksum != nil {
		p.Refuse(where, "compare only sizes: --file-validation filesize",
			"the images have a checksum of %s, which no released CRIU writes: not supported", name)
		return false
	}
	if len(reg.GetBuildId()) == 0 || reg.Size == nil {
		return true
	}
	is, was := buildid.Read(p.Host.File(name)), buildid.OfImage(reg)
	if buildid.Same(is, reg) {
		return true
	}
	now := fmt.Sprintf("has build id %x", is)
	if is == nil {
		now = "has no build id"
	}
	p.Refuse(where, "put back the build that was there at dump time; --file-validation filesize compares only sizes",
		"%s %s, but had %x at dump time: it is another build", name, now, was[:min(len(was), buildid.Max)])
	return false
}
