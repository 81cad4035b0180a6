package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// place gives the path of a cgroup that there is not yet.
func place(t *testing.T) string {
	t.Helper()
	testenv.NeedRoot(t)
	all := testenv.CgroupDirs(os.Getpid())
	testenv.Need(t, len(all) > 0, "cgroups")
	dir := filepath.Join(all[0], testenv.CgroupName())
	t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantThere(t *testing.T, dir string, want bool) {
	t.Helper()
	if _, err := os.Stat(dir); (err == nil) != want {
		t.Fatalf("%s is there: %v, want %v", dir, err == nil, want)
	}
}

// What one restore has made goes with it, or stays, with what is below it.
func TestOneSet(t *testing.T) {
	dir := place(t)
	for _, keep := range []bool{false, true} {
		var s Set
		for range 2 {
			must(t, s.Make(dir))
			must(t, s.Make(dir+"/below"))
		}
		if !s.Has(dir) || s.Has(dir+"/other") || !sys.Unfinished(dir) {
			t.Error("the set does not have what it has made, or it is not marked")
		}
		if keep {
			s.Keep()
		}
		must(t, s.Remove())
		wantThere(t, dir, keep)
		wantThere(t, dir+"/below", keep)
	}
	if sys.Unfinished(dir) {
		t.Error("it is marked as unfinished")
	}
	var s Set
	if err := s.Make(dir); !errors.Is(err, os.ErrExist) || s.Has(dir) {
		t.Errorf("finished: %v, want %v", err, os.ErrExist)
	}
	must(t, s.Remove())
	wantThere(t, dir, true)
	must(t, os.Remove(dir+"/below"))
}

// Of two restores that make one cgroup the first that gives up leaves it to the other one.
func TestTwoSets(t *testing.T) {
	dir := place(t)
	for name, second := range map[string]struct {
		ends  func(s *Set) error
		there bool
	}{
		"gives up": {(*Set).Remove, false},
		"succeeds": {func(s *Set) error { s.Keep(); return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var first, other Set
			must(t, first.Make(dir))
			must(t, other.Make(dir))
			must(t, first.Remove())
			wantThere(t, dir, true)
			must(t, second.ends(&other))
			wantThere(t, dir, second.there)
			testenv.RemoveCgroup(t, dir)
		})
	}
	var first, other Set
	must(t, first.Make(dir))
	must(t, other.Make(dir))
	first.Keep()
	must(t, other.Remove())
	wantThere(t, dir, true)
}

// Many restores make one cgroup, and give up, all at a time: it is there as long as one needs it, and then gone.
func TestManySets(t *testing.T) {
	dir := place(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				var s Set
				err := s.Make(dir)
				if err == nil {
					_, err = os.Stat(dir)
				}
				if err := errors.Join(err, s.Remove()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	wantThere(t, dir, false)
}

// A cgroup of a restore that was killed is the next one's, whoever has its pid by now. As long as that one lives it
// stays.
func TestKilledMaker(t *testing.T) {
	if dir := os.Getenv("CRPIE_TEST_MAKER"); dir != "" {
		var s Set
		must(t, s.Make(dir))
		fmt.Println("made")
		select {}
	}
	dir := place(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledMaker$")
	cmd.Env = append(os.Environ(), "CRPIE_TEST_MAKER="+dir, testenv.Mark())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID} // where its pid is 1
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "made\n" || !sys.Unfinished(dir) {
		t.Errorf("it says %q: %v; marked: %v", said, err, sys.Unfinished(dir))
	}
	for _, lives := range []bool{true, false} {
		if !lives {
			must(t, cmd.Process.Kill())
			_ = cmd.Wait()
		}
		var s Set
		must(t, s.Make(dir))
		must(t, s.Remove())
		wantThere(t, dir, lives)
	}
}

// A cgroup that stays busy for a while is removed; one that somebody uses is an error.
func TestBusy(t *testing.T) {
	tries := 0
	must(t, patiently(func() error {
		if tries++; tries < 5 {
			return &os.PathError{Op: "rmdir", Err: unix.EBUSY}
		}
		return nil
	}))
	must(t, patiently(func() error { return os.ErrNotExist }))
	if err := patiently(func() error { return unix.EPERM }); err != unix.EPERM {
		t.Errorf("%v, want %v", err, unix.EPERM)
	}
	dir := place(t)
	var s Set
	must(t, s.Make(dir))
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0))
	if err := s.Remove(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("%v, want %v", err, unix.EBUSY)
	}
}
