package images

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/crpie/crpie/images/pb"
)

// Writer writes one image: its magic words, then entries.
type Writer struct {
	w    io.Writer
	name string
}

// NewWriter starts an image of the kind that crit calls kind: CORE, MM, PAGEMAP and so on.
func NewWriter(w io.Writer, name, kind string) (*Writer, error) {
	var words []byte
	switch kind {
	case "INVENTORY": // read before anything else is known, so it has no common word
	case "STATS", "IRMAP_CACHE":
		words = binary.LittleEndian.AppendUint32(words, magicService)
	default:
		words = binary.LittleEndian.AppendUint32(words, magicCommon)
	}
	k, ok := kindByName(kind)
	if !ok {
		return nil, fmt.Errorf("images %s: no image kind is called %s", name, kind)
	}
	words = binary.LittleEndian.AppendUint32(words, k.Magic)
	if _, err := w.Write(words); err != nil {
		return nil, fmt.Errorf("images %s: %w", name, err)
	}
	return &Writer{w, name}, nil
}

// Write appends one message and the payload that belongs to it (nil for most kinds), padded by the caller.
func (w *Writer) Write(m pb.Message, payload []byte) error {
	body, err := Marshal(m)
	if err != nil {
		return fmt.Errorf("images %s: %w", w.name, err)
	}
	if len(body) > math.MaxUint32 {
		return fmt.Errorf("images %s: a message of %d bytes", w.name, len(body))
	}
	framed := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)+len(payload)), uint32(len(body)))
	framed = append(append(framed, body...), payload...)
	if _, err := w.w.Write(framed); err != nil {
		return fmt.Errorf("images %s: %w", w.name, err)
	}
	return nil
}

// WriteImage writes a whole image whose entries have no payload.
func WriteImage[M pb.Message](w io.Writer, name, kind string, entries ...M) error {
	out, err := NewWriter(w, name, kind)
	if err != nil {
		return err
	}
	for _, m := range entries {
		if err := out.Write(m, nil); err != nil {
			return err
		}
	}
	return nil
}
