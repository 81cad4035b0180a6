//go:build linux

package scratch

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const owner = "CRPIE_TEST_SCRATCH_OWNER"

func TestMain(m *testing.M) {
	if parent := os.Getenv(owner); parent != "" {
		os.Exit(ownUntilKilled(parent))
	}
	os.Exit(m.Run())
}

// ownUntilKilled makes a directory, says so, and waits for its end.
func ownUntilKilled(parent string) int {
	d, err := Make(parent)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString(d.Name + "\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// What a process that is killed leaves is found and swept; what a living one works in is not touched.
func TestSweep(t *testing.T) {
	parent := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), owner+"="+parent)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	name := line[:len(line)-1]
	found, err := Find(parent)
	if err != nil || len(found) != 1 || found[0] != name {
		t.Errorf("found %v, %v, want %s", found, err, name)
	}
	if err := Sweep(name); err != ErrInUse || Abandoned(name) != ErrInUse {
		t.Errorf("swept while its owner lives: %v", err)
	}
	if err := os.WriteFile(filepath.Join(name, "image"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := Abandoned(name); err != nil {
		t.Errorf("its owner has been killed: %v", err)
	}
	if err := Sweep(name); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// A directory that somebody sweeps between mkdir(2) and flock(2) is made again under another name.
func TestSweptTooSoon(t *testing.T) {
	parent := t.TempDir()
	name := filepath.Join(parent, swrk+"x")
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	sweeper, err := abandoned(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own(name); err != ErrInUse {
		t.Errorf("own while it is swept: %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	sweeper.Close()
	if _, err := own(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("own after it was swept: %v", err)
	}
}

// Directories of other users and links are left alone.
func TestForeign(t *testing.T) {
	parent := t.TempDir()
	name := filepath.Join(parent, swrk+"x")
	if err := os.Symlink(t.TempDir(), name); err != nil {
		t.Fatal(err)
	}
	if found, _ := Find(parent); len(found) != 0 {
		t.Errorf("a link is found: %v", found)
	}
	if err := Sweep(name); err == nil {
		t.Error("a link is swept")
	}
	if os.Geteuid() != 0 {
		return
	}
	foreign := filepath.Join(parent, swrk+"y")
	if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(foreign); err == nil || errors.Is(err, ErrInUse) {
		t.Errorf("a directory of another user: %v", err)
	}
}
