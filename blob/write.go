package blob

import "io"

// WriteTo writes the image as it would lie in memory, from its base to the last byte that is not one of the zeros at
// its end.
func (img *Image) WriteTo(w io.Writer) (int64, error) {
	var done int64
	for i, s := range img.Segments {
		n, err := w.Write(s.Data)
		if done += int64(n); err != nil {
			return done, err
		}
		if gap := int64(s.MemSize) - int64(len(s.Data)); gap > 0 && i+1 < len(img.Segments) {
			n, err := w.Write(make([]byte, gap))
			if done += int64(n); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}
