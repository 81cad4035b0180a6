package sys

import (
	"fmt"
	"os/exec"
)

// RunTool runs a program with which a restore goes forward.
func RunTool(cmd *exec.Cmd) error {
	if err := fault("tool"); err != nil {
		return fmt.Errorf("%s: %w", cmd.Path, err)
	}
	return cmd.Run()
}
