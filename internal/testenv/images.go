//go:build linux

package testenv

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Images is a dumped victim. It can be restored any number of times, one after the other.
type Images struct {
	Dir  string // the image directory
	Pid  int    // that the victim had and will have, where it has no pid namespace of its own
	criu *CRIU
	p    *Process
	disk map[string]diskFile // the victim's files as the dump left them
	all  map[string]bool     // the paths of everything that was in its folder then
}

// Dump dumps the victim with CRIU, which ends it. args are further options of criu dump; with --leave-running the
// process goes on.
func (p *Process) Dump(tb testing.TB, args ...string) *Images {
	tb.Helper()
	im := &Images{Dir: tb.TempDir(), Pid: p.Pid, criu: NeedRelease(tb, cmp.Or(p.Release, Stable)), p: p}
	log := filepath.Join(im.Dir, "dump.log")
	words := append([]string{"dump", "-t", fmt.Sprint(p.Pid), "-D", im.Dir, "-o", log, "-v4", "--file-locks",
		"--tcp-established", "--network-lock", p.networkLock()}, args...)
	err := run(command(tb, im.criu.Path, words...), log)
	for tries := 0; tries < 10 && othersCgroupHasGone(err); tries++ {
		err = run(command(tb, im.criu.Path, words...), log)
	}
	if err != nil {
		tb.Fatal(err)
	}
	im.forgetOthers(tb)
	if !slices.Contains(args, "--leave-running") && !slices.Contains(args, "-R") {
		if err := p.WaitGone(); err != nil { // its pid must be free
			tb.Fatal(err)
		}
		im.reapDescendants()
	}
	im.disk, im.all = readTree(tb, filepath.Dir(p.Out)), paths(tb, filepath.Dir(p.Out))
	return im
}

// networkLock is how CRIU keeps packets from the connections that it dumps. Undoing it takes CRIU 0.4 s, also where
// there is no connection.
func (p *Process) networkLock() string {
	if p.Connected {
		return "nftables"
	}
	return "skip"
}

// reapDescendants collects the children of a dumped victim, which its end has made ours; the images name them.
func (im *Images) reapDescendants() {
	if im.p.Init { // they have ended with it
		return
	}
	names, _ := filepath.Glob(filepath.Join(im.Dir, "core-*.img"))
	for _, name := range names {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(name), "core-%d.img", &pid); err == nil && pid != im.Pid {
			reap(pid)
		}
	}
}

// A diskFile is what a file was at the dump.
type diskFile struct {
	data []byte
	info fs.FileInfo
}

// readTree reads the regular files below a directory with their metadata, so that Reset can put them back.
func readTree(tb testing.TB, dir string) map[string]diskFile {
	tb.Helper()
	files := map[string]diskFile{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = diskFile{data, info}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// paths names all that is below a directory, folders, sockets and FIFOs included.
func paths(tb testing.TB, dir string) map[string]bool {
	tb.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all[path] = true
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// Stray lists what a restore has left in the victim's folder.
func (im *Images) Stray(tb testing.TB) []string {
	tb.Helper()
	now := paths(tb, filepath.Dir(im.p.Out))
	maps.DeleteFunc(now, func(path string, _ bool) bool { return im.all[path] })
	return slices.Sorted(maps.Keys(now))
}

// Reset puts the victim's files back to what they were at the dump: CRIU and crpie compare their sizes, and a restored
// victim writes. Files that it made since are removed.
func (im *Images) Reset(tb testing.TB) {
	tb.Helper()
	now := readTree(tb, filepath.Dir(im.p.Out))
	for path := range now {
		if _, was := im.disk[path]; !was {
			os.Remove(path)
		}
	}
	for path, file := range im.disk {
		if is, ok := now[path]; ok && file.equals(is) {
			// ext4(5) auto_da_alloc: a file that is truncated and written goes to the disk when it is
			// closed
			continue
		}
		if err := file.write(path); err != nil {
			tb.Fatal(err)
		}
	}
}

func (f diskFile) owner() (uid, gid int) {
	s := f.info.Sys().(*syscall.Stat_t)
	return int(s.Uid), int(s.Gid)
}

func (f diskFile) equals(g diskFile) bool {
	uid, gid := f.owner()
	itsUID, itsGID := g.owner()
	return uid == itsUID && gid == itsGID && f.info.Mode() == g.info.Mode() && bytes.Equal(f.data, g.data)
}

// write works in place, so that hard links stay. A file that has been removed gets its owner and mode again.
func (f diskFile) write(path string) error {
	if err := os.WriteFile(path, f.data, 0o644); err != nil {
		return err
	}
	uid, gid := f.owner()
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, f.info.Mode())
}

// Command prepares a program that is to restore im: the files are reset, there is a time limit, and what it starts
// carries the victim's mark, so that leftovers are found. Run it, then call Adopt.
func (im *Images) Command(tb testing.TB, name string, args ...string) *exec.Cmd {
	tb.Helper()
	becomeReaper()
	im.Reset(tb)
	cmd := command(tb, name, args...)
	cmd.Env = append(os.Environ(), markVariable+"="+im.p.Mark)
	return cmd
}

// Adopt takes charge of the restored process: it can be finished and snapshot, and is cleaned up.
func (im *Images) Adopt(tb testing.TB) *Process {
	tb.Helper()
	if im.p.Init {
		return im.AdoptAs(tb, initOf(im.p.Mark))
	}
	return im.AdoptAs(tb, im.Pid)
}

// AdoptAs takes charge of a restored process that has another number for this one than it has for itself.
func (im *Images) AdoptAs(tb testing.TB, pid int) *Process {
	tb.Helper()
	p := &Process{Pid: pid, Dir: im.p.Dir, Out: im.p.Out, Mark: im.p.Mark,
		Connected: im.p.Connected, Release: im.p.Release, Init: im.p.Init, done: make(chan struct{})}
	if !marked(p.Pid, p.Mark) {
		tb.Fatalf("process %d has not been restored", p.Pid)
	}
	go p.adopt()
	cleanUp(tb, p)
	return p
}

// Leftovers lists the processes that a restore has left behind.
func (im *Images) Leftovers() []int { return Leftovers(im.p.Mark) }

// Reap collects the processes of a restore that was undone: they have become children of ours.
func (im *Images) Reap() {
	reap(im.Pid)
	im.reapDescendants()
}

// RestoreCRIU restores with CRIU, detached.
func (im *Images) RestoreCRIU(tb testing.TB, args ...string) *Process {
	tb.Helper()
	logDir := tb.TempDir() // -D would put it among the images
	log := filepath.Join(logDir, "restore.log")
	words := append([]string{"restore", "-d", "-D", im.Dir, "-W", logDir, "-o", log, "-v4", "--file-locks",
		"--tcp-established"}, args...)
	if err := run(im.Command(tb, im.criu.Path, words...), log); err != nil {
		tb.Fatal(err)
	}
	return im.Adopt(tb)
}

// CRIURefuses reports whether CRIU cannot restore the images. Nothing is left of the attempt.
func (im *Images) CRIURefuses(tb testing.TB, args ...string) bool {
	tb.Helper()
	dir := tb.TempDir()
	words := append([]string{"restore", "-d", "-D", im.Dir, "-W", dir, "-o", "restore.log", "--file-locks"},
		args...)
	err := im.Command(tb, im.criu.Path, words...).Run()
	if err == nil {
		im.Adopt(tb)
		return false
	}
	im.Reap()
	return true
}

// CRIU runs another action of CRIU's on the images.
func (im *Images) CRIU(tb testing.TB, args ...string) {
	tb.Helper()
	log := filepath.Join(tb.TempDir(), "log")
	if err := run(command(tb, im.criu.Path, append(args, "-o", log, "-v4")...), log); err != nil {
		tb.Fatal(err)
	}
}

// Out is the file with the victim's output.
func (im *Images) Out() string { return im.p.Out }
