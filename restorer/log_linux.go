//go:build amd64

package restorer

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
)

// Line is one line that a plugin logged.
type Line struct {
	Level    uint32 // 1 error, 2 warning, 3 information, 4 debug
	Pid, Tid int
	Hook     abi.Hook
	Plugin   string
	Text     string
}

// logReader consumes the log ring (restorer/core/src/log.c). The ring is written by tasks and trusted in nothing: a
// record that cannot be is skipped together with everything after it.
type logReader struct {
	shared []byte
	off    uint64 // of the ring in shared
}

// next takes one record out of the ring.
func (l *logReader) next() (rec []byte, ok bool) {
	tail := sys.Word64(l.shared, abi.SharedLogTail)
	head := atomic.LoadUint64(sys.Word64(l.shared, abi.SharedLogHead))
	at := *tail % logRingSize
	if head == *tail || at%8 != 0 {
		return nil, false
	}
	length := uint64(atomic.LoadUint32(sys.Word(l.shared, int(l.off+at))))
	if length == 0 {
		return nil, false // reserved but not written yet
	}
	if length < abi.LogRecordSize || length > abi.LogRecordSize+abi.LogLineMax || length%8 != 0 || length > head-*tail {
		atomic.StoreUint64(tail, head)
		return nil, false
	}
	rec = make([]byte, length)
	ring := l.shared[l.off : l.off+logRingSize]
	n := copy(rec, ring[at:])
	copy(rec[n:], ring)
	clear(ring[at : at+uint64(n)]) // a length of 0 marks what is not written yet
	clear(ring[:length-uint64(n)])
	atomic.StoreUint64(tail, *tail+length)
	return rec, true
}

// drainLog passes on every line that is there.
func (r *runner) drainLog() {
	if r.shared == nil {
		return
	}
	for {
		rec, ok := r.log.next()
		if !ok {
			return
		}
		if r.opts.Log != nil {
			r.opts.Log(r.line(rec))
		}
	}
}

func (r *runner) line(rec []byte) Line {
	le := binary.LittleEndian
	text := rec[abi.LogRecordSize:]
	return Line{
		Level:  le.Uint32(rec[4:]),
		Pid:    int(int32(le.Uint32(rec[8:]))),
		Tid:    int(int32(le.Uint32(rec[12:]))),
		Hook:   abi.Hook(le.Uint32(rec[16:])),
		Plugin: r.plan.Image.PluginName(int(le.Uint32(rec[20:]))),
		Text:   string(text[:min(uint32(len(text)), le.Uint32(rec[24:]))]),
	}
}
