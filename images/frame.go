package images

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"

	"github.com/crpie/crpie/images/pb"
)

// An image file is, all words little-endian (https://criu.org/Images):
//
//	u32 common magic, u32 type magic     // inventory.img has only its type magic
//	u32 size, message                    // repeated until the end of the file
//	payload                              // after the message, in a few types: pipe contents and the like
//
// Pages files (pages-N.img) are nothing but pages.

// maxImageSize bounds the bytes that are read of one image, without payloads. The largest honest ones are pagemaps; a
// gigabyte of memory with a hole after every page has one of 6 MB.
const maxImageSize = 64 << 20

// Range is a piece of an image file that is not a message.
type Range struct {
	Level  int // 0: a file of the directory itself, 1: of its parent, and so on
	File   string
	Offset int64
	Size   int64
}

// Entry is one message of an image and what follows it.
type Entry struct {
	Message pb.Message
	Payload Range // Size 0 when there is none
}

// frameReader walks over the messages of one image.
type frameReader struct {
	name   string
	size   int64 // of the file
	offset int64
	file   fs.File
	buf    *bufio.Reader
	read   int64 // bytes read so far, payloads not counted
}

// openFrames opens an image with a buffer no larger than the file: a dump has several images for each task, most of
// them small.
func openFrames(fsys fs.FS, name string) (*frameReader, error) {
	file, info, err := openRegular(fsys, name)
	if err != nil {
		return nil, err
	}
	r := &frameReader{name: name, size: info.Size(), file: file}
	r.buf = bufio.NewReaderSize(file, int(min(max(r.size, 16), 32<<10)))
	return r, nil
}

// unwaiting is a file system that opens nothing that could make the caller wait, as files.FS does.
type unwaiting interface {
	OpenAndStat(name string) (fs.File, fs.FileInfo, error)
}

// openRegular looks before it opens where to open a fifo would wait for a writer.
func openRegular(fsys fs.FS, name string) (fs.File, fs.FileInfo, error) {
	if quick, ok := fsys.(unwaiting); ok {
		file, info, err := quick.OpenAndStat(name)
		if err == nil && !info.Mode().IsRegular() {
			file.Close()
			err = notRegular(info)
		}
		return file, info, err
	}
	info, err := fs.Stat(fsys, name)
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(info)
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := fsys.Open(name)
	return file, info, err
}

func notRegular(info fs.FileInfo) error {
	return fmt.Errorf("is a %v, want a regular file", info.Mode().Type())
}

func (r *frameReader) Close() error { return r.file.Close() }

// magic reads the one or two words in front and returns the type's.
func (r *frameReader) magic() (uint32, error) {
	word, err := r.u32("magic")
	if err != nil || word != magicCommon && word != magicService {
		return word, err
	}
	return r.u32("magic")
}

func (r *frameReader) u32(what string) (uint32, error) {
	b, err := r.bytes(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// next returns the bytes of the next message, or io.EOF exactly at the end of the file.
func (r *frameReader) next() ([]byte, error) {
	if r.offset == r.size {
		return nil, io.EOF
	}
	size, err := r.u32("size of the message")
	if err != nil {
		return nil, err
	}
	return r.bytes(int64(size), "message")
}

// bytes reads exactly n bytes; n has been read from the file and is not trusted.
func (r *frameReader) bytes(n int64, what string) ([]byte, error) {
	if left := r.size - r.offset; n > left {
		return nil, fmt.Errorf("%s at offset %d: %d bytes, but the file ends after %d", what, r.offset, n, left)
	}
	if r.read += n; r.read > maxImageSize {
		return nil, fmt.Errorf("%s at offset %d: more than %d bytes of messages", what, r.offset, maxImageSize)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.buf, b); err != nil {
		return nil, fmt.Errorf("%s at offset %d: %w", what, r.offset, err)
	}
	r.offset += n
	return b, nil
}

// payload describes the next n bytes and steps over them.
func (r *frameReader) payload(n uint64) (Range, error) {
	if left := r.size - r.offset; n > uint64(left) {
		return Range{}, fmt.Errorf("payload at offset %d: %d bytes, but the file ends after %d", r.offset, n,
			left)
	}
	at := Range{File: r.name, Offset: r.offset, Size: int64(n)}
	return at, r.skip(int64(n))
}

// skip seeks where the file can; an fs.File need not. Bytes that the buffer has already are skipped without a system
// call.
func (r *frameReader) skip(n int64) error {
	r.offset += n
	if seeker, ok := r.file.(io.Seeker); ok && n > int64(r.buf.Buffered()) {
		if _, err := seeker.Seek(r.offset, io.SeekStart); err != nil {
			return err
		}
		r.buf.Reset(r.file)
		return nil
	}
	_, err := io.CopyN(io.Discard, r.buf, n)
	return err
}

// ReadRange returns the bytes of a payload that Open has checked against the size of its file.
func ReadRange(fsys fs.FS, at Range) ([]byte, error) {
	file, info, err := openRegular(fsys, at.File)
	if err != nil {
		return nil, fmt.Errorf("images %s: %w", at.File, plainCause(err))
	}
	defer file.Close()
	if at.Offset < 0 || at.Size < 0 || at.Offset > info.Size() || at.Size > info.Size()-at.Offset {
		return nil, fmt.Errorf("images %s: payload at offset %d, %d bytes: the file has %d",
			at.File, at.Offset, at.Size, info.Size())
	}
	r := &frameReader{name: at.File, size: info.Size(), file: file, buf: bufio.NewReaderSize(file, 16)}
	if err := r.skip(at.Offset); err != nil {
		return nil, fmt.Errorf("images %s: %w", at.File, err)
	}
	b := make([]byte, at.Size)
	if _, err := io.ReadFull(r.buf, b); err != nil {
		return nil, fmt.Errorf("images %s: payload at offset %d: %w", at.File, at.Offset, err)
	}
	return b, nil
}
