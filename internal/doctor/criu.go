//go:build linux && amd64

package doctor

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a program may take to say something about itself.
const patience = 20 * time.Second

// maxOutput bounds how much of it is kept.
const maxOutput = 64 << 10

// output runs a program and returns what it says on both of its streams.
func (r *round) output(path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second // a child can hold the pipe
	var out bytes.Buffer
	cmd.Stdout = &limited{&out}
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it has not ended within %v", patience)
	}
	return out.String(), err
}

// limited drops output beyond the bound.
type limited struct{ *bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.Buffer.Write(b[:min(len(b), maxOutput-l.Len())])
	return len(b), nil
}

// link looks for the name criu that make install gives crpie beside its own.
func (r *round) link() {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		r.add("link", Problem, "", "crpie cannot find itself: %v", err)
		return
	}
	r.front = filepath.Join(filepath.Dir(filepath.Dir(self)), "lib", "crpie", "criu")
	if first := inPath(r.Front.Getenv("PATH"), "criu"); kindOf(r.front) != thisCRPIE && kindOf(first) == thisCRPIE {
		r.front = first
	}
	if kind := kindOf(r.front); kind != thisCRPIE {
		r.add("link", Problem, fmt.Sprintf("make install, or mkdir -p %s && ln -sfn %s %s", filepath.Dir(r.front), self,
			r.front), "%s: %s; by it container runtimes find crpie", r.front, kind)
		return
	}
	r.fine("link", "%s is this crpie", r.front)
}

// kind says what a program named criu is.
type kind string

const (
	thisCRPIE    kind = "this crpie"
	anotherCRPIE kind = "another build of crpie"
	script       kind = "a script"
	missing      kind = "not there"
	noProgram    kind = "no program"
	someCRIU     kind = "not crpie"
)

// kindOf looks at a file; crpie is a Go program that knows its module.
func kindOf(path string) kind {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return missing
	}
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return noProgram
	}
	if self, err := os.Stat("/proc/self/exe"); err == nil && os.SameFile(self, info) {
		return thisCRPIE
	}
	if builtFrom(path, "github.com/crpie/crpie/") {
		return anotherCRPIE
	}
	if begins(path, "#!") {
		return script
	}
	return someCRIU
}

// builtFrom reports whether a Go program's main package is one of a module: since Go 1.18 a section has what was built
// as text. debug/buildinfo reads the executables of five systems, which every command would pay for at its start.
func builtFrom(path, module string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info := f.Section(".go.buildinfo")
	if info == nil {
		return false
	}
	text, err := info.Data()
	return err == nil && bytes.Contains(text, []byte("path\t"+module))
}

func begins(path, with string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, len(with))
	_, err = io.ReadFull(f, start)
	return err == nil && string(start) == with
}

// criu asks the real criu for its version, and whether it works on this kernel.
func (r *round) criu() {
	path, err := r.Front.RealCRIU()
	if err != nil {
		r.add("criu", Problem, "apt-get install criu, dnf install criu, or https://criu.org/Installation", "%v", err)
		return
	}
	said, err := r.output(path, "--version")
	version, ok := strings.CutPrefix(firstLine(said), "Version: ")
	if err != nil || !ok {
		r.add("criu", Problem, "name another one: real-criu PATH in "+filepath.Join(r.Front.ConfigDir, "containers.d"),
			"%s --version: %s", path, failure(said, err))
		return
	}
	said, err = r.output(path, "check")
	switch {
	case err == nil:
		r.fine("criu", "version %s, %s; criu check: looks good", version, path)
	case os.Geteuid() != 0:
		r.add("criu", Note, "run crpie doctor as root", "version %s, %s; only root can run criu check", version, path)
	default:
		r.add("criu", Problem, "a newer criu, or a kernel with what it misses; criu check tells all of it",
			"version %s, %s; criu check: %s", version, path, failure(said, err))
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// failure is the first error that a program prints, or else its first line, or how it ended.
func failure(said string, err error) string {
	for lines := bufio.NewScanner(strings.NewReader(said)); lines.Scan(); {
		if _, text, found := strings.Cut(lines.Text(), "Error ("); found {
			return "Error (" + text
		}
	}
	if line := firstLine(said); line != "" {
		return line
	}
	if err == nil {
		return "it says nothing"
	}
	return err.Error()
}
