//go:build amd64

package swrk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
)

// opened are files that criu finds through this process: it looks for numbers of descriptors in the table of its
// peer, which we are in the runtime's place.
type opened struct{ files []*os.File }

func (o *opened) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// keep makes a file last as long as the request, and gives its number.
func (o *opened) keep(f *os.File) *int32 {
	o.files = append(o.files, f)
	return pb.Int32(int32(f.Fd()))
}

// ofPeer opens what a descriptor of the runtime refers to, as criu does.
func (s *session) ofPeer(fd int32, flags int) (*os.File, error) {
	if s.peerPid <= 0 {
		return nil, errors.New("the runtime is in another pid namespace: its descriptors cannot be opened")
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", s.peerPid, fd), flags, 0)
	if err != nil {
		return nil, fmt.Errorf("descriptor of the runtime: %w", err)
	}
	return f, nil
}

const directory = os.O_RDONLY | unix.O_DIRECTORY

// imagesDir opens the image directory: config_file goes before the request.
func (s *session) imagesDir() (*os.File, error) {
	switch {
	case s.config.criu.imagesDir != "":
		return os.OpenFile(s.config.criu.imagesDir, directory, 0)
	case s.opts.GetImagesDirFd() >= 0:
		return s.ofPeer(s.opts.GetImagesDirFd(), directory)
	case s.opts.GetImagesDir() != "":
		return os.OpenFile(s.opts.GetImagesDir(), directory, 0)
	}
	return nil, errors.New("the request names no image directory")
}

// workDir names the directory of logs: config_file goes before the request, and that before criu's own files.
func (s *session) workDir() (string, error) {
	switch {
	case s.config.criu.workDir != "":
		return s.config.criu.workDir, nil
	case s.opts.WorkDirFd != nil:
		return fmt.Sprintf("/proc/%d/fd/%d", s.peerPid, *s.opts.WorkDirFd), nil
	case s.config.defaults.workDir != "":
		return s.config.defaults.workDir, nil
	}
	f, err := s.imagesDir()
	if err != nil {
		return "", err
	}
	s.opened.keep(f)
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), nil
}

// rewrite makes the request that criu gets: with descriptors of this process, and without what is for crpie.
func (s *session) rewrite(req *pb.CriuReq) ([]byte, error) {
	if req.Opts == nil {
		return images.Marshal(req)
	}
	if dumps(req.GetType()) && req.Opts.GetPid() == 0 {
		return nil, fmt.Errorf("a process that dumps itself: not supported with lines of crpie's in %s; "+
			"write them as #crpie: comments", req.Opts.GetConfigFile())
	}
	req = pb.Clone(req)
	if req.GetType() == pb.CriuReqType_RESTORE {
		// the first words by which the pid of what has to be undone is known
		req.Opts.NotifyScripts = pb.Bool(true)
	}
	if err := s.redirect(req.Opts); err != nil {
		return nil, err
	}
	return images.Marshal(req)
}

func dumps(kind pb.CriuReqType) bool {
	return kind == pb.CriuReqType_DUMP || kind == pb.CriuReqType_PRE_DUMP || kind == pb.CriuReqType_SINGLE_PRE_DUMP
}

// redirect exchanges descriptors of the runtime for our own.
func (s *session) redirect(opts *pb.CriuOpts) error {
	exchange := func(fd **int32, flags int) error {
		if *fd == nil || **fd < 0 {
			return nil
		}
		f, err := s.ofPeer(**fd, flags)
		if err != nil {
			return err
		}
		*fd = s.opened.keep(f)
		return nil
	}
	errs := []error{exchange(&opts.WorkDirFd, directory), exchange(&opts.StatusFd, os.O_WRONLY),
		s.redirectStore(opts),
		s.redirectConfig(opts)}
	if s.graft != nil {
		opts.ImagesDir, opts.AutoDedup = nil, nil // what is left of images may be needed for another try
		errs = append(errs, s.redirectImages(opts))
	} else {
		errs = append(errs, exchange(&opts.ImagesDirFd, directory))
	}
	return errors.Join(errs...)
}

// redirectImages names the grafted directory, and keeps the log where it would have been.
func (s *session) redirectImages(opts *pb.CriuOpts) error {
	f, err := os.OpenFile(s.graft.dir, directory, 0)
	if err != nil {
		return err
	}
	opts.ImagesDirFd = s.opened.keep(f)
	if opts.WorkDirFd != nil || s.config.defaults.workDir != "" {
		return nil
	}
	work, err := s.imagesDir()
	if err != nil {
		return err
	}
	opts.WorkDirFd = s.opened.keep(work)
	return nil
}

// redirectStore takes over the socket in which a runtime keeps pidfds between dumps.
func (s *session) redirectStore(opts *pb.CriuOpts) error {
	if opts.PidfdStoreSk == nil || *opts.PidfdStoreSk < 0 {
		return nil
	}
	peer, err := sys.OpenPidfd(sys.PID(s.peerPid))
	if err != nil {
		return err
	}
	defer peer.Close()
	f, err := peer.Descriptor(int(*opts.PidfdStoreSk))
	if err != nil {
		return err
	}
	opts.PidfdStoreSk = s.opened.keep(f)
	return nil
}

// redirectConfig gives criu a copy of config_file without the lines that are crpie's, which it would stop at.
func (s *session) redirectConfig(opts *pb.CriuOpts) error {
	text := s.config.stripped
	if s.graft != nil {
		text = s.config.withoutImagesDir()
	}
	if opts.ConfigFile == nil || !s.config.found || !s.config.changed && s.graft == nil {
		return nil
	}
	f, err := sys.Memfd("criu.conf", 0, false)
	if err != nil {
		return err
	}
	number := s.opened.keep(f)
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("copy of %s: %w", opts.GetConfigFile(), err)
	}
	opts.ConfigFile = pb.String(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), *number))
	return nil
}
