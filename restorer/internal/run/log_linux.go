//go:build amd64

package run

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// logReader consumes a log ring (restorer/core/src/log.c). The ring is written by tasks and trusted in nothing: a
// record that cannot be is skipped together with everything after it.
type logReader struct {
	ring ring
	tail uint64 // bytes ever consumed
}

// ring is the memory of a log.
type ring interface {
	read(b []byte, at uint64) error
	// release clears n bytes, because a length of 0 marks a record that is not written yet, and tells the writers.
	release(at uint64, n int, tail uint64) error
}

// drain passes on the records that are there, at most a ring full. Their bytes are read again when their lengths have
// been seen: the length is written last.
func (l *logReader) drain(head uint64, record func(rec []byte)) error {
	n := min(head-l.tail, plan.LogRingSize)
	if n == 0 {
		return nil
	}
	at, b := l.tail%plan.LogRingSize, make([]byte, n)
	if err := l.ring.read(b, at); err != nil {
		return err
	}
	done, ok := records(b, func([]byte) {})
	if err := l.ring.read(b[:done], at); err != nil {
		return err
	}
	_, again := records(b[:done], record)
	if l.tail += uint64(done); !ok || !again {
		l.tail, done = head, len(b)
	}
	if done == 0 {
		return nil
	}
	return l.ring.release(at, done, l.tail)
}

// records finds the records at the beginning of b that have been written. ok is false for what cannot be one.
func records(b []byte, record func(rec []byte)) (done int, ok bool) {
	for done < len(b) {
		rest := b[done:]
		if len(rest) < abi.LogRecordSize {
			return done, false
		}
		length := uint64(binary.LittleEndian.Uint32(rest[abi.LogRecordLenOff:]))
		if length == 0 {
			break
		}
		if length < abi.LogRecordSize || length > abi.LogRecordSize+abi.LogLineMax || length%8 != 0 ||
			length > uint64(len(rest)) {
			return done, false
		}
		record(rest[:length])
		done += int(length)
	}
	return done, true
}

// pieces cuts n bytes of a ring that begin at offset at.
func pieces(b []byte, at uint64) (first, second []byte) {
	n := min(uint64(len(b)), plan.LogRingSize-at)
	return b[:n], b[n:]
}

// sharedRing is the ring of the tasks that have not left the shared memory.
type sharedRing struct {
	shared []byte
	off    uint64 // of the ring
}

func (r *sharedRing) head() uint64 {
	return atomic.LoadUint64(sys.Word64(r.shared, abi.SharedLogHeadOff))
}

func (r *sharedRing) read(b []byte, at uint64) error {
	first, second := pieces(b, at)
	copy(first, r.shared[r.off+at:])
	copy(second, r.shared[r.off:])
	return nil
}

func (r *sharedRing) release(at uint64, n int, tail uint64) error {
	all := r.shared[r.off : r.off+plan.LogRingSize]
	first, second := pieces(make([]byte, n), at)
	clear(all[at : at+uint64(len(first))])
	clear(all[:len(second)])
	atomic.StoreUint64(sys.Word64(r.shared, abi.SharedLogTailOff), tail)
	return nil
}

// ownRing is the ring of a task that has left.
type ownRing struct {
	pid    sys.PID
	region *plan.Region
}

func (r *ownRing) spans(b []byte, at uint64) []sys.Span {
	ring := r.region.Shared + r.region.LogOff()
	first, second := pieces(b, at)
	return []sys.Span{{Addr: ring + at, Data: first}, {Addr: ring, Data: second}}
}

func (r *ownRing) read(b []byte, at uint64) error { return sys.ReadProcess(r.pid, r.spans(b, at)...) }

func (r *ownRing) release(at uint64, n int, tail uint64) error {
	word := binary.LittleEndian.AppendUint64(nil, tail)
	return sys.WriteProcess(r.pid, append(r.spans(make([]byte, n), at),
		sys.Span{Addr: r.region.Shared + abi.SharedLogTailOff, Data: word})...)
}

// drainShared passes on what tasks have logged before they left the shared memory.
func (r *Runner) drainShared() {
	// this process's memory: no call can fail
	_ = r.log.drain(r.sharedRing().head(), func(rec []byte) { r.passOn(rec, nil) })
}

func (r *Runner) sharedRing() *sharedRing { return &sharedRing{r.share.shared, r.Plan.Region.LogOff()} }

// saidError is a line of LogError.
type saidError struct {
	call uint32 // HookSeq of the call that logged it
	text string
}

// passOn gives one record to the caller's function. t is the task in whose own memory it stood.
func (r *Runner) passOn(rec []byte, t *plan.Task) {
	var line abi.LogRecord
	line.Get(rec)
	if t == nil {
		t = r.Plan.TaskOf(int(line.Pid))
	}
	if t == nil {
		return
	}
	tid := int(line.Tid)
	if t.Thread(tid) == nil {
		tid = t.Pid
	}
	text := rec[abi.LogRecordSize:]
	said := report.Line{
		Level:  min(max(report.LogLevel(line.Level), report.LogError), report.LogDebug),
		Pid:    t.Pid,
		Tid:    tid,
		Hook:   stage.Stage(line.Hook),
		Plugin: r.Plan.ImageOf(t).PluginName(int(line.Plugin)),
		Text:   string(text[:min(uint32(len(text)), line.TextLen)]),
	}
	if said.Level == report.LogError {
		r.lastErrors[tid] = saidError{line.Seq, said.Text}
	}
	if r.Opts.Log != nil {
		r.Opts.Log(said)
	}
}
