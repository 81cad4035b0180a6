//go:build linux

package testenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// CRIU is an installed one.
type CRIU struct {
	Path string   // the wrapper: for everything but races
	Argv []string // the words that start it without the wrapper's shell
}

// NeedCRIU returns the CRIU in .cache/criu, which scripts/get-criu puts there on first use, or the one that
// CRPIE_CRIU names.
func NeedCRIU(tb testing.TB) *CRIU {
	tb.Helper()
	NeedRoot(tb)
	criu, err := installCRIU()
	Need(tb, err == nil, fmt.Sprintf("a CRIU: %v", err))
	return criu
}

var installCRIU = sync.OnceValues(func() (*CRIU, error) {
	if path := os.Getenv("CRPIE_CRIU"); path != "" {
		return &CRIU{path, []string{path}}, nil
	}
	prefix := filepath.Join(Root(), ".cache", "criu")
	if out, err := exec.Command(filepath.Join(Root(), "scripts", "get-criu"), prefix).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("scripts/get-criu: %w\n%s", err, out)
	}
	words, err := exec.Command(filepath.Join(prefix, "bin", "criu-argv")).Output()
	if err != nil {
		return nil, fmt.Errorf("criu-argv: %w", err)
	}
	return &CRIU{filepath.Join(prefix, "bin", "criu"), strings.Fields(string(words))}, nil
})

// Timeout ends every command and every wait of this package.
const Timeout = 60 * time.Second

// run runs a command to its end; the error carries its output, and the errors of the log file if there is one.
func run(cmd *exec.Cmd, log string) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), logErrors(log))
}

// command is exec.Command with a time limit that also holds when a grandchild keeps the output open.
func command(tb testing.TB, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	tb.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// logErrors picks the lines of a CRIU log that say Error or Warn.
func logErrors(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var picked strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "Error") || strings.Contains(line, "Warn") {
			picked.WriteString(line)
		}
	}
	return picked.String()
}
