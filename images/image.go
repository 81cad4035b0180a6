package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/memory"
)

// maxEntries bounds the messages of one image; a task tree with a million open files is not restored by accident.
const maxEntries = 1 << 20

// Error says which field of which image is wrong.
type Error struct {
	File  string
	Entry int // counted from 0; -1 when the file as a whole is meant
	Cause error
}

func (e *Error) Error() string {
	if e.Entry < 0 {
		return escape.Name(fmt.Sprintf("images %s: %v", e.File, e.Cause))
	}
	return escape.Name(fmt.Sprintf("images %s: entry %d: %v", e.File, e.Entry, e.Cause))
}

func (e *Error) Unwrap() error { return e.Cause }

// Image is one decoded file.
type Image struct {
	Name    string
	Kind    Kind
	Entries []Entry
	Unknown []string // fields that only a newer CRIU knows, as "entry 0: field tc.23"
}

// Read decodes any image whose type package pb has. Of payloads it records where they lie.
func Read(fsys fs.FS, name string) (*Image, error) {
	r, err := openFrames(fsys, name)
	if err != nil {
		return nil, &Error{name, -1, plainCause(err)}
	}
	defer r.Close()
	magic, err := r.magic()
	if err != nil {
		return nil, &Error{name, -1, err}
	}
	kind, ok := kindOf(magic)
	if !ok {
		return nil, &Error{name, -1, fmt.Errorf("magic 0x%08x is not a known image type", magic)}
	}
	img := &Image{Name: name, Kind: kind}
	return img, img.readEntries(r)
}

// plainCause drops the operation and path that fs.PathError repeats.
func plainCause(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

// kindOf finds the kind of image that has a magic number.
func kindOf(magic uint32) (Kind, bool) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Magic == magic })
	if i < 0 {
		return Kind{}, false
	}
	return kinds[i], true
}

// KindNames lists the types of image whose messages are known, as crit names them, sorted.
func KindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return names
}

func kindByName(name string) (Kind, bool) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return kinds[i], true
}

// readEntries reads to the end of the file: the format has no count of entries. Errors name the entry by its number.
func (img *Image) readEntries(r *frameReader) error {
	for {
		data, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = img.addEntry(r, data)
		}
		if err != nil {
			return &Error{img.Name, len(img.Entries), err}
		}
	}
}

// addEntry decodes a message, which tells the size of the payload behind it.
func (img *Image) addEntry(r *frameReader, data []byte) error {
	if len(img.Entries) >= maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	m := img.newMessage()
	unknown, err := Unmarshal(data, m)
	if err != nil {
		return err
	}
	for _, field := range unknown {
		img.Unknown = append(img.Unknown, fmt.Sprintf("entry %d: field %s", len(img.Entries), field))
	}
	payload, err := readPayload(r, m)
	if err != nil {
		return err
	}
	img.Entries = append(img.Entries, Entry{m, payload})
	return nil
}

// newMessage makes the message for the next entry: in two kinds of image the first entry is a head.
func (img *Image) newMessage() pb.Message {
	if len(img.Entries) > 0 {
		switch img.Kind.Name {
		case "PAGEMAP":
			return &pb.PagemapEntry{}
		case "GHOST_FILE":
			return &pb.GhostChunkEntry{}
		}
	}
	return img.Kind.new()
}

// readPayload steps over what follows a message and says where it is.
func readPayload(r *frameReader, m pb.Message) (Range, error) {
	switch m := m.(type) {
	case *pb.PipeDataEntry:
		return r.payload(uint64(m.GetBytes()))
	case *pb.SkPacketEntry:
		return r.payload(uint64(m.GetLength()))
	case *pb.TcpStreamEntry: // the incoming queue, then the outgoing one
		return r.payload(uint64(m.GetInqLen()) + uint64(m.GetOutqLen()))
	case *pb.BpfmapDataEntry:
		return r.payload(uint64(m.GetKeysBytes()) + uint64(m.GetValuesBytes()))
	case *pb.GhostFileEntry:
		if m.GetChunks() { // a sparse file: chunk entries follow
			return Range{}, nil
		}
		return r.payload(uint64(r.size - r.offset))
	case *pb.GhostChunkEntry:
		return r.payload(m.GetLen())
	case *pb.IpcSemEntry: // u16 values, padded to 8 bytes
		return r.payload((2*uint64(m.GetNsems()) + 7) &^ 7)
	case *pb.IpcShmEntry: // padded to 4 bytes
		if m.GetInPagemaps() {
			return Range{}, nil
		}
		return r.payload(memory.AlignUp(m.GetSize(), 4))
	case *pb.IpcMsgEntry:
		return readMessageQueue(r, m.GetQnum())
	}
	return Range{}, nil
}

// readMessageQueue steps over the messages of a System V queue: u32 size, ipc_msg, text padded to 8 bytes.
func readMessageQueue(r *frameReader, messages uint32) (Range, error) {
	start := r.offset
	for range messages {
		data, err := r.next()
		if err != nil {
			return Range{}, fmt.Errorf("queued messages: %w", err)
		}
		m := &pb.IpcMsg{}
		if _, err := Unmarshal(data, m); err != nil {
			return Range{}, err
		}
		if _, err := r.payload(memory.AlignUp(uint64(m.GetMsize()), 8)); err != nil {
			return Range{}, err
		}
	}
	return Range{File: r.name, Offset: start, Size: r.offset - start}, nil
}
