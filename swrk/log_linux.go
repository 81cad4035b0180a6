//go:build amd64

package swrk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/report"
)

// log collects what goes into the runtime's log when criu is done: criu empties the file when it begins. Times are since
// the request came, whoever has been tried since.
type log struct {
	text  bytes.Buffer
	start time.Time
}

// printf adds a line in the form of criu's.
func (l *log) printf(format string, args ...any) {
	since := time.Since(l.start)
	line := escape.Text(fmt.Sprintf(format, args...))
	fmt.Fprintf(&l.text, "(%02d.%06d) crpie: %s\n", int(since.Seconds()), since.Microseconds()%1e6, line)
}

// plugin adds what a plugin has logged.
func (l *log) plugin(line report.Line) {
	level := map[report.LogLevel]string{report.LogError: "Error: ", report.LogWarning: "Warn: "}[line.Level]
	l.printf("%d: %s: %s: %s%s", line.Tid, escape.Name(line.Plugin), line.Hook, level, escape.Name(line.Text))
}

// error adds an error. runc shows lines with the word Error.
func (l *log) error(err error) {
	l.lines("Error (crpie): ", err)
}

// lines adds what an error says, each line behind a prefix.
func (l *log) lines(prefix string, err error) {
	for line := range strings.Lines(asLines(escape.Error(err))) {
		l.printf("%s%s", prefix, strings.TrimRight(line, "\n"))
	}
}

// flush writes the lines behind what criu has written to its log; fresh: criu has written nothing, the file is
// begun anew. A log that cannot be written ends no restore.
func (s *session) flush(fresh bool) {
	if err := s.writeLog(fresh); err != nil {
		fmt.Fprintf(s.front.Errors, "crpie: log: %v\n", escape.Error(err))
	}
}

// writeLog writes the lines to the log that the request names, behind criu's or to a new one. O_NONBLOCK: the name
// could be a fifo that nobody reads.
func (s *session) writeLog(fresh bool) error {
	if s.log.text.Len() == 0 {
		return nil
	}
	name, err := s.logName()
	if err != nil || name == "" {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | unix.O_NONBLOCK
	if fresh {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(s.log.text.Bytes())
	s.log.text.Reset()
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// logName is where criu writes its log, "" for standard error: config_file goes before the request, and that before
// criu's own files.
func (s *session) logName() (string, error) {
	if s.opts == nil || s.config == nil {
		return "", nil
	}
	name := s.config.criu.logFile
	switch {
	case name != "":
	case s.opts.GetLogFile() != "":
		name = filepath.Base(s.opts.GetLogFile()) // criu takes no folder there
	case s.opts.GetLogToStderr():
		return "", nil
	case s.config.defaults.logFile != "":
		name = s.config.defaults.logFile
	default:
		name = "criu.log"
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	dir, err := s.workDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// asLines turns the flags of crpie graft, which its refusals name, into lines of a configuration file.
func asLines(text string) string {
	return strings.NewReplacer("--allow-", "pie-allow-", "--task ", "pie-task ", "--pie-timeout=", "pie-timeout ",
		"use crpie restore, or ", "").Replace(text)
}

// fail answers with an error, after it is in the log.
func (s *session) fail(pid int, err error) error {
	s.log.error(err)
	s.flush(s.criu == nil && !s.begun)
	return s.answer(failure(s.kind, pid, s.errno(), err), err)
}

// answer sends what ends the request; err is the cause that is returned with it.
func (s *session) answer(data []byte, err error) error {
	if sent := s.peer.Send(data); sent != nil {
		return fmt.Errorf("%w; the runtime did not take the answer: %w", err, sent)
	}
	return err
}

// errno is the number for criu's field cr_errno: something has ended a restore that went on, or the request cannot
// be carried out, for which criu has EBADRQC.
func (s *session) errno() unix.Errno {
	if s.criu != nil || s.begun {
		return unix.ECANCELED
	}
	return unix.EBADRQC
}
