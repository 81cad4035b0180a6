//go:build amd64

package swrk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/ended"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// relay carries messages between the runtime and criu, descriptors too.
type relay struct {
	*session
	line        sys.Channel // to criu
	fromCRIU    <-chan packet
	fromRuntime <-chan packet
	root        int     // pid of the root task; 0: not known
	tree        []*task // what is undone when a hook fails
	answered    bool    // criu has answered
	success     bool    // the answer is that it could, and the runtime has got it
}

// packet is a message, or the end of them.
type packet struct {
	data []byte
	fds  []int
	err  error
}

func (p *packet) close() {
	for _, fd := range p.fds {
		_ = unix.Close(fd)
	}
}

// receive hands on what comes by a channel. The last one has an error.
func receive(c sys.Channel) <-chan packet {
	all := make(chan packet)
	go func() {
		buffer := make([]byte, maxMessage+1)
		for {
			n, fds, err := c.Receive(buffer)
			if n > maxMessage {
				err = fmt.Errorf("message of more than %d bytes", maxMessage)
			}
			all <- packet{bytes.Clone(buffer[:n]), fds, err}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// restore has criu carry out a request, and returns its exit status.
func (s *session) restore(ctx context.Context) (status int, err error) {
	if s.kind == pb.CriuReqType_RESTORE && s.config.grafts() {
		if err := s.refuseForGraft(); err != nil {
			return 0, err
		}
		err = s.makeGraft(ctx)
		if s.graft != nil {
			defer s.removeGraft()
		}
		if err != nil {
			return 0, err
		}
	}
	kind := s.kind
	request, err := s.rewrite(&pb.CriuReq{Type: &kind, Opts: s.opts})
	if err != nil {
		return 0, err
	}
	return s.runCRIU(ctx, request)
}

// runCRIU starts criu as our child, or as our sibling if its own children are to be the runtime's.
func (s *session) runCRIU(ctx context.Context, request []byte) (status int, err error) {
	path, err := s.front.RealCRIU()
	if err != nil {
		return 0, err
	}
	ours, its, err := sys.NewChannel()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	argv := []string{path, "swrk", strconv.Itoa(s.fd)}
	s.criu, err = sys.StartCommand(path, argv, its, s.fd, s.opts.GetRstSibling())
	its.Close()
	if err != nil {
		return 0, err
	}
	defer s.criu.Close()
	if err := ours.Send(request); err != nil {
		return 0, err
	}
	r := &relay{session: s, line: ours, fromCRIU: receive(ours), fromRuntime: receive(s.peer)}
	return r.run(ctx)
}

// run goes on until criu has ended.
func (r *relay) run(ctx context.Context) (status int, err error) {
	for err == nil {
		select {
		case p := <-r.fromCRIU:
			if p.err != nil {
				r.fromCRIU = nil
				return r.end(p.err)
			}
			err = r.toRuntime(ctx, &p)
			p.close()
		case p := <-r.fromRuntime:
			err = r.toCRIU(&p)
			p.close()
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return 0, several.Join(err, r.stop(err))
}

// toRuntime hands on what criu says. The answer to a request whose hooks are watched waits for them.
func (r *relay) toRuntime(ctx context.Context, p *packet) error {
	answer := &pb.CriuResp{}
	if _, err := images.Unmarshal(p.data, answer); err != nil {
		return fmt.Errorf("criu's message: %w", err)
	}
	if pid := answer.GetNotify().GetPid(); pid > 0 {
		r.root = int(pid)
	}
	if answer.GetType() == pb.CriuReqType_NOTIFY {
		return r.notify(answer.GetNotify().GetScript(), p)
	}
	r.answered, r.success = true, answer.GetSuccess()
	if r.graft != nil && r.success {
		r.root = int(answer.GetRestore().GetPid())
		if err := r.supervise(ctx); err != nil {
			return err
		}
	}
	if r.around != nil {
		r.around.dumped = r.success
		if err := r.resumed(ctx); err != nil {
			return err
		}
	}
	r.flush(false)
	r.delivered = true
	if r.peer.Send(p.data, p.fds...) != nil { // as for criu: what is restored stays
		r.success = false
	}
	return nil
}

// orphanMaster is the notification that brings the master of a terminal.
const orphanMaster = "orphan-pts-master"

// notify hands a notification on to a runtime that has asked for them, and agrees in the place of another. The terminal
// comes to every runtime that has asked for that, cr-service.c.
func (r *relay) notify(script string, p *packet) error {
	if r.kind != pb.CriuReqType_RESTORE || r.opts.GetNotifyScripts() || script == orphanMaster {
		return r.peer.Send(p.data, p.fds...)
	}
	kind := pb.CriuReqType_NOTIFY
	data, err := images.Marshal(&pb.CriuReq{Type: &kind, NotifySuccess: pb.Bool(true)})
	if err != nil {
		return err
	}
	return r.line.Send(data)
}

// toCRIU hands on what the runtime says: answers to notifications, and more requests.
func (r *relay) toCRIU(p *packet) error {
	if p.err != nil {
		r.fromRuntime = nil
		if !errors.Is(p.err, io.EOF) {
			return p.err
		}
		r.line.CloseWrite()
		return nil
	}
	kind, ok := messageType(p.data)
	if !ok || kind == pb.CriuReqType_NOTIFY {
		return r.line.Send(p.data, p.fds...)
	}
	req := &pb.CriuReq{}
	if _, err := images.Unmarshal(p.data, req); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if kind == pb.CriuReqType_RESTORE {
		return errors.New("request RESTORE behind another one: not supported")
	}
	data, err := r.rewrite(req)
	if err != nil {
		return err
	}
	return r.line.Send(data, p.fds...)
}

// end returns the status of criu, which has closed the connection.
func (r *relay) end(closed error) (status int, err error) {
	if !errors.Is(closed, io.EOF) {
		return 0, several.Join(closed, r.stop(closed))
	}
	if !r.answered && r.kind == pb.CriuReqType_RESTORE {
		return 0, several.Join(errors.New("criu has ended without an answer"), r.undo())
	}
	status, known, err := r.criu.Wait()
	if err != nil || !known { // a sibling's, or nobody's, because SIGCHLD is ignored here, wait(2)
		status = 0
	}
	if !r.success {
		status = max(status, 1)
	}
	return status, nil
}

// patience is how long criu may take to end by a signal.
const patience = 5 * time.Second

// stop ends criu after an error, and all that it has made unless the runtime has been told that it has it.
func (r *relay) stop(why error) error {
	sig := unix.SIGTERM
	if by := (ended.By{}); errors.As(why, &by) {
		sig = by.Signal
	}
	r.line.CloseWrite()
	err := r.criu.Signal(sig)
	if !r.criu.Ended(patience) {
		err = several.Join(err, r.criu.Kill())
	}
	if r.delivered {
		return err
	}
	r.hearRest()
	return several.Join(err, r.undo())
}

// hearRest learns the root task's pid from what criu still said before it ended: it may have answered already.
func (r *relay) hearRest() {
	late := time.After(patience)
	for r.fromCRIU != nil {
		select {
		case p := <-r.fromCRIU:
			p.close()
			answer := &pb.CriuResp{}
			if p.err != nil {
				r.fromCRIU = nil
			} else if _, err := images.Unmarshal(p.data, answer); err == nil {
				r.root = max(r.root, int(answer.GetNotify().GetPid()),
					int(answer.GetRestore().GetPid()))
			}
		case <-late:
			return
		}
	}
}
