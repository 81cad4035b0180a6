package graft

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// tarBlock is the unit of an archive, pax(1), "ustar Interchange Format".
const tarBlock = 512

// Places in a header block, pax(1) and the GNU tar manual, "Basic Tar Format".
const (
	sizeField     = 124
	sizeFieldEnd  = 136
	typeField     = 156
	sparseMore    = 482 // of a GNU sparse header: whether a block with more of its map follows
	sparseMoreExt = 504 // the same in such a block
)

// physical returns where the contents of the entry at start begin in an archive, and where the next entry does.
// archive/tar tells what an entry means, but of a sparse file or one of unknown type not how many bytes of the archive
// are its.
func physical(r io.ReaderAt, start int64) (data, end int64, err error) {
	size := int64(-1) // from a pax record
	for at := start; ; {
		var block [tarBlock]byte
		if _, err := r.ReadAt(block[:], at); err != nil {
			return 0, 0, err
		}
		n, err := tarNumber(block[sizeField:sizeFieldEnd])
		if err != nil {
			return 0, 0, err
		}
		at += tarBlock
		switch block[typeField] {
		case tar.TypeXHeader:
			if size, err = paxSize(r, at, n, size); err != nil {
				return 0, 0, err
			}
			at += inBlocks(n)
			continue
		case tar.TypeGNULongName, tar.TypeGNULongLink:
			at += inBlocks(n)
			continue
		case tar.TypeXGlobalHeader:
			return at + n, at + inBlocks(n), nil // archive/tar has read it all and leaves the padding
		case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
			return at, at, nil // they have no contents, whatever their size says
		case tar.TypeGNUSparse:
			if at, err = skipSparseMap(r, at, block[sparseMore]); err != nil {
				return 0, 0, err
			}
		}
		if size >= 0 {
			n = size
		}
		return at, at + inBlocks(n), nil
	}
}

func inBlocks(n int64) int64 { return (n + tarBlock - 1) &^ (tarBlock - 1) }

// maxEntry bounds the size of one entry, so that sums of sizes fit.
const maxEntry = 1 << 60

// tarNumber decodes a number of a header: octal digits, or binary after a byte with its top bit set.
func tarNumber(field []byte) (int64, error) {
	if field[0] == 0x80 {
		if n := binary.BigEndian.Uint64(field[len(field)-8:]); n < maxEntry &&
			bytes.Count(field[1:len(field)-8],
				[]byte{0}) == len(field)-9 {
			return int64(n), nil
		}
		return 0, fmt.Errorf("size % x", field)
	}
	digits := strings.Trim(string(field), " \x00")
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 8, 60)
	if err != nil {
		return 0, fmt.Errorf("size %q", digits)
	}
	return int64(n), nil
}

// maxPax is the most that archive/tar reads of one pax header.
const maxPax = 1 << 20

// paxSize looks for a record "size" in a pax header of n bytes.
func paxSize(r io.ReaderAt, at, n, size int64) (int64, error) {
	if n > maxPax {
		return 0, fmt.Errorf("pax header of %d bytes", n)
	}
	records := make([]byte, n)
	if _, err := r.ReadAt(records, at); err != nil {
		return 0, err
	}
	for len(records) > 0 {
		digits, _, _ := bytes.Cut(records, []byte{' '})
		length, err := strconv.Atoi(string(digits))
		if err != nil || length <= len(digits)+1 || length > len(records) {
			return 0, fmt.Errorf("pax record of length %q", clipped(digits))
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(string(records[len(digits)+1:length]), "\n"), "=")
		if key == "size" {
			if size, err = strconv.ParseInt(value, 10, 64); err != nil || size < 0 || size >= maxEntry {
				return 0, fmt.Errorf("pax record size=%q", value)
			}
		}
		records = records[length:]
	}
	return size, nil
}

func clipped(b []byte) []byte { return b[:min(len(b), 20)] }

// skipSparseMap goes past the blocks that continue the map of a GNU sparse header.
func skipSparseMap(r io.ReaderAt, at int64, more byte) (int64, error) {
	for more != 0 {
		var block [tarBlock]byte
		if _, err := r.ReadAt(block[:], at); err != nil {
			return 0, err
		}
		more = block[sparseMoreExt]
		at += tarBlock
	}
	return at, nil
}
