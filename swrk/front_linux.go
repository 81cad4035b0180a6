//go:build amd64

package swrk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// Front is crpie in criu's place, for one process that was started as criu.
type Front struct {
	ConfigDir string // DefaultConfigDir
	Getenv    func(string) string
	Secure    bool   // the environment is not trusted
	Tool      string // name and version, for what is grafted
	Errors    io.Writer
	// Native restores by crpie's own restorer, and returns the root task's pid; a *NotPlanned if it does not take
	// the request.
	Native func(ctx context.Context, request *NativeRequest) (root int, err error)
}

// Serve answers the request that waits on a descriptor, or executes criu, which answers it. It returns the exit
// status.
func (f *Front) Serve(ctx context.Context, fd int) (status int, err error) {
	channel := sys.Borrow(fd)
	buffer := make([]byte, maxMessage)
	n, err := peek(ctx, channel, buffer)
	if ctx.Err() != nil {
		return 1, context.Cause(ctx)
	}
	if err != nil { // criu says what is wrong with the descriptor
		return f.pass(fd)
	}
	if n > maxMessage {
		return 1, tooLong(channel, n, buffer)
	}
	s := &session{front: f, fd: fd, log: log{start: time.Now()}}
	ours, err := s.judge(buffer[:n])
	if err == nil && !ours {
		return f.pass(fd)
	}
	return s.serve(ctx, err)
}

// peek waits for a request, or for a signal: runtimes end a criu that has nothing to do.
func peek(ctx context.Context, channel sys.Channel, buffer []byte) (n int, err error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := channel.Peek(buffer)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// tooLong refuses a request of n bytes. It is taken off first: closing a socket with something unread resets the
// connection, and the other end may never see the answer.
func tooLong(channel sys.Channel, n int, buffer []byte) error {
	err := fmt.Errorf("request of %d bytes, more than %d", n, maxMessage)
	_, fds, lost := channel.Receive(buffer)
	(&packet{fds: fds}).close()
	return errors.Join(err, lost, channel.Send(failure(pb.CriuReqType_EMPTY, -1, unix.EBADRQC, err)))
}

// pass leaves the request to criu.
func (f *Front) pass(fd int) (status int, err error) {
	return 1, f.Pass([]string{"swrk", strconv.Itoa(fd)})
}

// session is one request that criu does not get as it is.
type session struct {
	front   *Front
	fd      int
	peer    sys.Channel // the runtime
	peerPid int
	kind    pb.CriuReqType
	opts    *pb.CriuOpts
	config  *config
	log     log
	opened  opened
	graft   *grafted     // nil: none
	around  *around      // nil: no hook runs around this dump
	criu    *sys.Command // nil: not started
	// delivered: the runtime has got criu's answer, and gets no other one.
	delivered bool
	begun     bool          // crpie's own restorer had begun when it failed
	words     <-chan packet // of the runtime, which answers notifications
}

// judge decides whether a request is for criu as it is. An error is why it must not be carried out.
func (s *session) judge(data []byte) (ours bool, err error) {
	kind, ok := messageType(data)
	if !ok {
		return false, nil // criu does not understand it either
	}
	s.kind = kind
	req, err := decode(data)
	switch {
	case kind == pb.CriuReqType_RESTORE && err != nil:
		return false, err
	case err != nil || req.GetKeepOpen(): // criu refuses to restore and to keep the connection
		return false, nil
	}
	s.opts = req.Opts
	s.config, err = s.front.read(s.opts.GetConfigFile(), func() (*container, error) { return describe(s.opts) })
	if kind == pb.CriuReqType_DUMP {
		var wrong error
		if s.around, wrong = s.config.findAround(); s.around != nil || wrong != nil {
			return true, several.Join(err, wrong)
		}
	}
	if kind != pb.CriuReqType_RESTORE {
		return s.config.changed, nil
	}
	if err == nil {
		err = s.config.decide()
	}
	s.config.withoutDump()
	return s.config.Way == Native || s.config.grafts() || s.config.changed, err
}

// decide refuses settings that cannot be followed.
func (c *config) decide() error {
	if c.Way == Graft && !c.hooks() {
		return errors.New("restore-with graft: no pie-plugin is configured for this container")
	}
	return nil
}

// grafts reports whether the images are grafted, if crpie's own restorer does not take them.
func (c *config) grafts() bool { return c.hooks() && c.Way != CRIU && c.Way != Native }

// serve takes the request off the connection and carries it out, or says why not.
func (s *session) serve(ctx context.Context, refused error) (status int, err error) {
	if s.peer, err = sys.Inherit(s.fd); err != nil {
		return 1, err
	}
	defer s.peer.Close()
	defer s.opened.close()
	buffer := make([]byte, maxMessage)
	if _, _, err = s.peer.Receive(buffer); err != nil {
		return 1, err
	}
	err = refused
	if s.peerPid, err = s.peer.Peer(); err == nil {
		err = refused
	}
	done := false
	if err == nil {
		done, err = s.tryNative(ctx)
	}
	switch {
	case err != nil || done:
	case s.around != nil:
		status, err = s.dump(ctx)
	default:
		status, err = s.restore(ctx)
	}
	if err != nil && !s.delivered {
		return 1, s.fail(-1, err)
	}
	return status, err
}
