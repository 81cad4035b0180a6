//go:build amd64

package swrk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/several"
)

// native has crpie's own restorer carry the request out. A *NotPlanned says that nothing has been done.
func (s *session) native(ctx context.Context) error {
	request, err := s.nativeRequest()
	if err != nil {
		return &NotPlanned{err}
	}
	root, err := s.front.Native(ctx, request)
	if err != nil {
		return err
	}
	kind := pb.CriuReqType_RESTORE
	data, err := images.Marshal(&pb.CriuResp{
		Type: &kind, Success: pb.Bool(true), Restore: &pb.CriuRestoreResp{Pid: pb.Int32(int32(root))},
	})
	if err == nil {
		s.delivered = true
		err = s.peer.Send(data)
	}
	return err
}

// nativeRequest words a request as the flags of crpie restore. The image directory goes by its descriptor, because the
// runtime passes it so.
func (s *session) nativeRequest() (*NativeRequest, error) {
	flags, err := nativeFlags(s.opts)
	plugins, wrong := s.config.flagsOf()
	if err := several.Join(err, wrong); err != nil {
		return nil, err
	}
	dir, err := s.imagesDir()
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	s.opened.keep(dir)
	log, err := s.logName()
	if err != nil {
		return nil, err
	}
	plugins = append(plugins, fmt.Sprintf("--images-dir=/proc/self/fd/%d", dir.Fd()))
	q := &NativeRequest{
		Flags: flags, ConfigName: s.opts.GetConfigFile(), ConfigText: s.config.stripped, Plugins: plugins,
		Log: log,
		First: fmt.Sprintf("restore-with %s: restored by crpie itself, with %s", s.config.Way,
			s.config.describePlugins()),
		Start:  s.log.start,
		Notify: s.notify,
	}
	if s.opts.GetOrphanPtsMaster() {
		q.Master = s.sendMaster
	}
	return q, nil
}

// notify tells the runtime of an action and waits for its word, as criu does. Whatever the runtime says before the
// tasks go on is too late for criu, and only told.
func (s *session) notify(ctx context.Context, script string, pid int) error {
	if !s.opts.GetNotifyScripts() {
		return nil
	}
	notify := &pb.CriuNotify{Script: &script}
	if pid != 0 && (script == "setup-namespaces" || script == "post-restore") {
		notify.Pid = pb.Int32(int32(pid))
	}
	return s.ask(ctx, notify)
}

// sendMaster: criu tells every runtime that has asked for it, cr-service.c.
func (s *session) sendMaster(ctx context.Context, master *os.File) error {
	return s.ask(ctx, &pb.CriuNotify{Script: pb.String(orphanMaster)}, int(master.Fd()))
}

// ask sends a notification, with descriptors, and waits for the runtime's word.
func (s *session) ask(ctx context.Context, notify *pb.CriuNotify, fds ...int) error {
	kind, script := pb.CriuReqType_NOTIFY, notify.GetScript()
	data, err := images.Marshal(&pb.CriuResp{Type: &kind, Success: pb.Bool(true), Notify: notify})
	if err == nil {
		err = s.peer.Send(data, fds...)
	}
	if err != nil {
		return fmt.Errorf("notification %s: %w", script, err)
	}
	if s.words == nil {
		s.words = receive(s.peer)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case p := <-s.words:
		p.close()
		return agreed(script, &p)
	}
}

// agreed reads the runtime's word.
func agreed(script string, p *packet) error {
	word := &pb.CriuReq{}
	err := p.err
	if err == nil {
		_, err = images.Unmarshal(p.data, word)
	}
	if err != nil {
		return fmt.Errorf("notification %s: %w", script, err)
	}
	if word.GetType() != pb.CriuReqType_NOTIFY || !word.GetNotifySuccess() {
		return fmt.Errorf("notification %s: the runtime reported an error", script)
	}
	return nil
}

// tryNative carries the request out if crpie's own restorer takes it. done: the rest is not to be tried any more.
func (s *session) tryNative(ctx context.Context) (done bool, err error) {
	if s.kind != pb.CriuReqType_RESTORE ||
		s.config.Way != Native && (s.config.Way != Auto || !s.config.hooks()) {
		return false, nil
	}
	err = s.native(ctx)
	var not *NotPlanned
	if s.config.Way == Auto && errors.As(err, &not) {
		s.log.lines("restore-with auto: not by crpie itself: ", not)
		return false, nil
	}
	s.begun = err != nil && !errors.As(err, &not)
	return true, err
}
