package graft

import (
	"fmt"
	"io"
	"os"
)

// Limits bound what an archive may cost. A member of 0 stands for the one of DefaultLimits.
type Limits struct {
	Size    int64 // bytes of the archive unpacked, all of which are written to a temporary file
	Entries int   // files in it
	Headers int64 // bytes of their headers: names, and the records of pax
}

// DefaultLimits are far above what a container needs. Packed, some megabytes of zeros can exceed any of them.
var DefaultLimits = Limits{Size: 16 << 30, Entries: 100_000, Headers: 64 << 20}

// withDefaults fills in the limits that are 0.
func (l Limits) withDefaults() Limits {
	if l.Size == 0 {
		l.Size = DefaultLimits.Size
	}
	if l.Entries == 0 {
		l.Entries = DefaultLimits.Entries
	}
	if l.Headers == 0 {
		l.Headers = DefaultLimits.Headers
	}
	return l
}

// LimitError reports an archive that costs more than it may.
type LimitError struct {
	Name  string // size, entries or headers
	Limit int64
}

func (e *LimitError) Error() string {
	what := map[string]string{
		"size": "it has more than %d bytes unpacked", "entries": "it has more than %d entries",
		"headers": "the headers of its entries have more than %d bytes",
	}[e.Name]
	return fmt.Sprintf(what, e.Limit) + "\n  hint: if you trust it, raise the limit: --archive-limit " + e.Name +
		"=N"
}

// spool copies an archive into a file; it gives only bytes that it has written there.
type spool struct {
	from  io.Reader
	file  *os.File
	size  int64 // bytes so far
	limit int64
}

// Read counts bytes, and reads one more than the limit to tell that there are more.
func (s *spool) Read(b []byte) (int, error) {
	if int64(len(b)) > s.limit-s.size+1 {
		b = b[:s.limit-s.size+1]
	}
	n, err := s.from.Read(b)
	s.size += int64(n)
	if s.size > s.limit {
		return 0, &LimitError{"size", s.limit}
	}
	if _, werr := s.file.Write(b[:n]); werr != nil {
		return 0, werr
	}
	return n, err
}
