//go:build linux

package gdbserver

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/crpie/crpie/internal/scratch"
)

// Thread is the stopped thread that gdb looks at.
type Thread interface {
	Machine() Machine
	ID() int
	Others() []int                    // threads of its process that stand, too, and that gdb may look at
	Name(id int) string               // of a thread
	Registers(id int) ([]byte, error) // of the thread or another one
	SetRegisters(b []byte) error      // of the thread
	Read(addr uint64, b []byte) int   // up to what can be read
	Write(addr uint64, b []byte) error
	Executable() string // a path; empty: none is mapped yet
	Auxv() []byte
	Stands() error // ErrKilled, or why nobody needs to look any more
}

// ErrKilled says that the thread does not stand any more.
var ErrKilled = errors.New("it was killed while a debugger could look at it")

// standing is how often Serve asks whether the thread stands.
const standing = 100 * time.Millisecond

// Server waits for gdb. Its methods are called while the thread is stopped, but for Interrupted.
type Server struct {
	dir      *scratch.Dir
	listener *net.UnixListener // by net.Listen all kinds of sockets and the resolver would be part of crpie
	accepted chan *net.UnixConn
	conn     *net.UnixConn // nil: nobody is there
	packets  chan string
	running  bool // gdb waits for the thread to stop
	code     breakpoints

	shown        int  // the thread whose registers gdb asks for; 0: the one that runs the hook
	tellsBreaks  bool // gdb wants to be told that a stop is a breakpoint's
	atBreakpoint bool // the thread stands at one
}

// Resume says how the thread has to go on.
type Resume struct {
	Step   bool // one instruction
	Signal int  // that gdb has it get
}

// Listen makes the socket, in a directory that only this user can enter: in $TMPDIR, or in /tmp if the path would be
// too long for a socket. If crpie is killed it stays behind, and crpie doctor finds it.
func Listen() (*Server, error) {
	const longest, name = 107, "/" + scratch.Socket + "ABCDEFGHIJKLMNOPQRSTUVWXYZ/gdb" // unix(7): 108 bytes with the NUL
	parent := os.TempDir()
	if len(parent)+len(name) > longest {
		parent = "/tmp"
	}
	dir, err := scratch.MakeForSocket(parent)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, accepted: make(chan *net.UnixConn), code: breakpoints{}}
	if s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.Path(), Net: "unix"}); err != nil {
		return nil, errors.Join(err, dir.Remove())
	}
	go s.accept()
	return s, nil
}

// Path is the socket's.
func (s *Server) Path() string { return filepath.Join(s.dir.Name, "gdb") }

// accept hands connections over, one at a time.
func (s *Server) accept() {
	defer close(s.accepted)
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		s.accepted <- conn
	}
}

// Serve answers gdb while the thread stands still with a signal, until gdb or goOn lets it go on. The error is
// ErrKilled, or that of Stands, if it does not stand any more.
func (s *Server) Serve(ctx context.Context, t Thread, signal int, goOn <-chan struct{}) (Resume, error) {
	if s.running {
		s.shown = 0
		s.send(s.stopReply(t, signal))
		s.running = false
	}
	if s.Gone() {
		if err := s.code.removeAll(t); err != nil {
			return Resume{}, err
		}
	}
	looks := time.NewTicker(standing)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return Resume{}, context.Cause(ctx)
		case <-looks.C:
			if err := t.Stands(); err != nil {
				return Resume{}, err
			}
		case <-goOn:
			return Resume{}, s.hangUp(t)
		case conn, ok := <-s.newcomers():
			if ok {
				s.conn, s.packets = conn, make(chan string, 16)
				s.shown, s.tellsBreaks = 0, false
				go readPackets(conn, s.packets)
			}
		case packet, ok := <-s.packets:
			if !ok {
				if err := s.hangUp(t); err != nil {
					return Resume{}, err
				}
				continue
			}
			reply, resume, err := s.answer(t, packet, signal)
			if err != nil {
				return Resume{}, err
			}
			if reply != nil {
				s.send(*reply)
			}
			if resume != nil {
				s.atBreakpoint = false
				return *resume, nil
			}
		}
	}
}

// newcomers is where connections come from; nobody is let in while gdb is there.
func (s *Server) newcomers() <-chan *net.UnixConn {
	if s.conn != nil {
		return nil
	}
	return s.accepted
}

// Interrupted reports, while the thread runs, whether gdb wants it to stop, or has gone away.
func (s *Server) Interrupted() bool {
	if s.packets == nil {
		return false
	}
	select {
	case _, ok := <-s.packets:
		s.running = s.running && ok
		if !ok {
			s.drop()
		}
		return true
	default:
		return false
	}
}

// Gone reports whether no gdb is there.
func (s *Server) Gone() bool { return s.conn == nil }

func (s *Server) send(reply string) {
	if s.conn != nil {
		_, _ = s.conn.Write(encode(reply)) // an error ends the next read
	}
}

// hangUp ends the connection and takes the breakpoints out of the code.
func (s *Server) hangUp(t Thread) error {
	s.drop()
	return s.code.removeAll(t)
}

func (s *Server) drop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.packets, s.running = nil, nil, false
}

// awaitEnd waits until gdb has closed the connection, which it does when it is told of the end: it confirms that first,
// and complains if nobody hears it.
func (s *Server) awaitEnd() {
	limit := time.After(time.Second)
	for {
		select {
		case _, more := <-s.packets:
			if !more {
				return
			}
		case <-limit:
			return
		}
	}
}

// Close tells gdb that the hook has returned and ends the service. t is nil where the thread's memory is gone.
func (s *Server) Close(t Thread) error {
	if s.running {
		s.send("W00")
		s.awaitEnd()
	}
	s.drop()
	var err error
	if t != nil {
		err = s.code.removeAll(t)
	}
	s.listener.Close()
	for conn := range s.accepted { // who has just come
		conn.Close()
	}
	return errors.Join(err, s.dir.Remove())
}
