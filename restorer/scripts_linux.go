//go:build amd64

package restorer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// ActionError is a script that has failed.
type ActionError struct {
	Action Action
	Script string // its file
	Err    error  // of os/exec, or the cause of the context's end
}

func (e *ActionError) Error() string {
	return fmt.Sprintf("script %s, %s: %v", e.Script, e.Action, e.Err)
}

func (e *ActionError) Unwrap() error { return e.Err }

// Scripts are programs to run at each action, as criu(8) --action-script. Run fits RunOptions.Act when it is given a
// context.
type Scripts struct {
	files   []string
	workDir string
	environ []string
	output  io.Writer
}

// NewScripts finds the programs, in PATH if their names have no slash. They will run in workDir; images is the image
// directory, environ the environment to which the variables of an action are added.
func NewScripts(names []string, workDir, images string, environ []string, output io.Writer) (*Scripts, error) {
	s := &Scripts{workDir: workDir, output: output}
	var errs []error
	for _, name := range names {
		file, err := exec.LookPath(name)
		if err == nil {
			file, err = filepath.Abs(file) // it runs elsewhere
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("action script: %w", err))
		}
		s.files = append(s.files, file)
	}
	images, err := filepath.Abs(images)
	s.environ = append(slices.Clone(environ), "CRTOOLS_IMAGE_DIR="+images)
	return s, several.Join(append(errs, err)...)
}

// scriptPause bounds the wait for the output of processes that a script has left behind.
const scriptPause = time.Second

// Run runs all scripts, that which was named last first, as criu does. root is the pid of the root task, 0 when there
// is none yet. One that fails does not keep the others from running.
func (s *Scripts) Run(ctx context.Context, a Action, root int) error {
	environ := append(slices.Clone(s.environ), "CRTOOLS_SCRIPT_ACTION="+string(a))
	if root != 0 {
		environ = append(environ, "CRTOOLS_INIT_PID="+strconv.Itoa(root))
	}
	var errs []error
	for _, file := range slices.Backward(s.files) {
		cmd := exec.CommandContext(ctx, file)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = s.workDir, environ, s.output, s.output,
			scriptPause
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with ctx end the programs that it runs, too
		cmd.Cancel = func() error { return sys.Kill(-sys.PID(cmd.Process.Pid), syscall.SIGKILL) }
		err := cmd.Run()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			errs = append(errs, &ActionError{a, file, err})
		}
	}
	return several.Join(errs...)
}
