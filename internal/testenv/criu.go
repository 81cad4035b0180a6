//go:build linux

package testenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// CRIU is an installed one.
type CRIU struct {
	Release Release
	Path    string   // the wrapper: for everything but races
	Argv    []string // the words that start it without the wrapper's shell
}

// A Release is the suite of Debian that carries a CRIU.
type Release string

// Stable carries CRIU 4.1, Newest 4.2 or later.
const (
	Stable Release = "trixie"
	Newest Release = "sid"
)

// Releases lists all that images are dumped with in tests.
func Releases() []Release { return []Release{Stable, Newest} }

// Tag marks the names of a release's subtests; the stable one's have none.
func (r Release) Tag() string {
	if r == Stable {
		return ""
	}
	return "-" + string(r)
}

// prefix is the folder in .cache, variable the environment variable that names a CRIU to use instead.
func (r Release) prefix() string { return filepath.Join(Root(), ".cache", "criu"+r.Tag()) }
func (r Release) variable() string {
	return "CRPIE_CRIU" + strings.ToUpper(strings.ReplaceAll(r.Tag(), "-", "_"))
}

// NeedCRIU returns the stable CRIU.
func NeedCRIU(tb testing.TB) *CRIU {
	tb.Helper()
	return NeedRelease(tb, Stable)
}

// NeedRelease returns a CRIU in .cache, which scripts/get-criu puts there on first use, or the one that CRPIE_CRIU or
// CRPIE_CRIU_SID names.
func NeedRelease(tb testing.TB, r Release) *CRIU {
	tb.Helper()
	NeedRoot(tb)
	criu, err := installed[r]()
	Need(tb, err == nil, fmt.Sprintf("the CRIU of Debian %s: %v", r, err))
	return criu
}

var installed = map[Release]func() (*CRIU, error){
	Stable: sync.OnceValues(Stable.install),
	Newest: sync.OnceValues(Newest.install),
}

// install has scripts/get-criu fetch a CRIU, unless the environment names one. It keeps the words that start CRIU
// itself: the program of another suite needs its own loader and libraries.
func (r Release) install() (*CRIU, error) {
	if path := os.Getenv(r.variable()); path != "" {
		return &CRIU{r, path, []string{path}}, nil
	}
	get := exec.Command(filepath.Join(Root(), "scripts", "get-criu"), r.prefix())
	get.Env = append(os.Environ(), "CRIU_SUITE="+string(r))
	if out, err := get.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("scripts/get-criu: %w\n%s", err, out)
	}
	words, err := exec.Command(filepath.Join(r.prefix(), "bin", "criu-argv")).Output()
	if err != nil {
		return nil, fmt.Errorf("criu-argv: %w", err)
	}
	return &CRIU{r, filepath.Join(r.prefix(), "bin", "criu"), strings.Fields(string(words))}, nil
}

// loader gives the words that start a program with the C library of this CRIU's own, ld.so(8).
func (c *CRIU) loader() (words []string, ok bool) {
	const before = 3 // ld.so --library-path DIR
	if len(c.Argv) <= before {
		return nil, false
	}
	return slices.Clone(c.Argv[:before]), true
}

// Timeout ends every command and every wait of this package. CRPIE_TEST_PATIENCE multiplies it, for a machine that is
// emulated.
var Timeout = time.Duration(max(1, patience)) * time.Minute

var patience, _ = strconv.Atoi(os.Getenv("CRPIE_TEST_PATIENCE")) // nothing is 0

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
