package inject

import (
	"runtime/debug"
	"sync"
)

// collection is the state of the garbage collector while processes stand still: it is off, because its work would take
// up to a millisecond away from the tracer. Sessions can overlap.
var collection struct {
	sync.Mutex
	sessions int
	percent  int // GOGC before the first one
}

// withoutCollection waits for the end of a collection that is at work, and lets none begin until over is called. What a
// memory limit asks for happens all the same, debug.SetMemoryLimit.
func withoutCollection() (over func()) {
	c := &collection
	c.Lock()
	defer c.Unlock()
	if c.sessions++; c.sessions == 1 {
		c.percent = debug.SetGCPercent(-1)
	}
	return sync.OnceFunc(func() {
		c.Lock()
		defer c.Unlock()
		if c.sessions--; c.sessions == 0 {
			debug.SetGCPercent(c.percent)
		}
	})
}
