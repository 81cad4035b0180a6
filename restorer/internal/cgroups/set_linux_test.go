package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// stranger opens a file as those can who may only read it, and locks it by flock(2).
func stranger(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_SH))
	return f
}

// Whoever can read a cgroup can lock it. That is waited for, but not for ever.
func TestStrangersLock(t *testing.T) {
	defer func(before time.Duration) { lockTime = before }(lockTime)
	above := place(t)
	must(t, os.Mkdir(above, 0o755))
	dir := filepath.Join(above, "below")
	t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
	lock := stranger(t, above)
	lockTime = 10 * time.Millisecond
	var s Set
	fails := func(do func() error) {
		t.Helper()
		if err := do(); err == nil || !strings.Contains(err.Error(), "lock "+above+": another process") {
			t.Errorf("%v, want the lock of %s", err, above)
		}
	}
	fails(func() error { return s.Make(dir) })
	wantThere(t, dir, false)
	lockTime = testenv.Timeout
	released := make(chan error)
	go func() { released <- lock.Close() }()
	must(t, s.Make(dir))
	must(t, <-released)
	lock = stranger(t, above)
	lockTime = 10 * time.Millisecond
	fails(s.Remove)
	wantThere(t, dir, true)
	must(t, lock.Close())
}

// Who only reads the cgroup.procs of one that is made keeps nobody from making it as well, nor from removing it.
func TestStrangersHoldNothing(t *testing.T) {
	for _, all := range testenv.CgroupDirs(os.Getpid()) {
		dir := filepath.Join(all, filepath.Base(place(t)))
		t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
		var first, second Set
		must(t, first.Make(dir))
		lock := stranger(t, filepath.Join(dir, "cgroup.procs"))
		defer lock.Close()
		must(t, second.Make(dir))
		must(t, first.Remove())
		wantThere(t, dir, true)
		must(t, second.Remove())
		wantThere(t, dir, false)
	}
}

// A reader's lock of the kind that holds, fcntl_locking(2), is not waited for without a limit either.
func TestStrangersReadLock(t *testing.T) {
	defer func(before time.Duration) { lockTime = before }(lockTime)
	lockTime = 10 * time.Millisecond
	dir := place(t)
	must(t, os.Mkdir(dir, 0o755))
	testenv.Need(t, sys.MarkUnfinished(dir), "extended attributes of cgroups")
	procs, err := os.Open(filepath.Join(dir, "cgroup.procs"))
	must(t, err)
	defer procs.Close()
	var s Set
	must(t, unix.FcntlFlock(procs.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}))
	if err := s.Make(dir); err == nil || !strings.Contains(err.Error(), "lock "+procs.Name()+": another process") {
		t.Errorf("%v, want the lock of %s", err, procs.Name())
	}
	must(t, s.Remove())
	wantThere(t, dir, true)
}
