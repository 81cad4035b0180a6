//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// wantPrivate: a file is there, for its owner alone.
func wantPrivate(t *testing.T, name string) string {
	t.Helper()
	info, err := os.Lstat(name)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("%s has mode %v", name, info.Mode())
	}
	data, err := os.ReadFile(name)
	must(t, err)
	return string(data)
}

// A pidfile is a new one, as criu's, for its owner alone; what has its name is in the way before a process exists.
func TestPidfile(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	name := filepath.Join(im.Dir, "pid")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for _, put := range []func() error{
		func() error { return os.Symlink(elsewhere, name) },
		func() error { return syscall.Mkfifo(name, 0o666) },
		func() error { return os.WriteFile(name, []byte("1"), 0o644) },
	} {
		must(t, put())
		status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pidfile", "pid")
		if status != exitFailed || !strings.Contains(output,
			"crpie: pidfile: open "+name+": file already exists\n  hint: remove it") {
			t.Errorf("status %d\n%s", status, output)
		}
		must(t, os.Remove(name))
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a symbolic link was followed")
	}
	p, _ := restore(t, im, "--pidfile", "pid")
	if text := wantPrivate(t, name); text != fmt.Sprint(im.Pid) {
		t.Errorf("the pidfile says %q", text)
	}
	p.MustPass(t)
}

// The pidfile of a restore that fails at the very end does not stay.
func TestPidfileDiscarded(t *testing.T) {
	p := pidfile{name: filepath.Join(t.TempDir(), "pid")}
	must(t, p.discard())
	must(t, p.write(7))
	must(t, p.discard())
	if _, err := os.Lstat(p.name); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
	must(t, os.WriteFile(p.name, nil, 0o600))
	other := pidfile{name: p.name}
	if err := other.write(7); err == nil || !strings.Contains(err.Error(), "file already exists") {
		t.Errorf("writing over a file: %v", err)
	}
	must(t, other.discard())
	if _, err := os.Lstat(p.name); err != nil {
		t.Errorf("somebody else's was removed: %v", err)
	}
}

// A log is for its owner alone; beside the images no link is followed, and nobody waits for a reader.
func TestLogFiles(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	name := filepath.Join(im.Dir, "restore.log")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	dry := func(log string) (int, string) {
		return tool(t, im, "restore", "--dry-run", "-D", im.Dir, "-v4", "-o", log)
	}
	must(t, os.Symlink(elsewhere, name))
	if status, output := dry("restore.log"); status != exitFailed ||
		!strings.Contains(output, "hint: it is a symbolic link") {
		t.Errorf("link: status %d\n%s", status, output)
	}
	if status, output := dry(name); status != exitOK {
		t.Errorf("link with a whole name: status %d\n%s", status, output)
	}
	wantPrivate(t, elsewhere)
	must(t, os.Remove(name))
	must(t, syscall.Mkfifo(name, 0o600))
	if status, output := dry("restore.log"); status != exitFailed ||
		!strings.Contains(output, "hint: it is a FIFO that nobody reads") {
		t.Errorf("FIFO: status %d\n%s", status, output)
	}
	must(t, os.Remove(name))
	p, _ := restore(t, im, "-v4", "-o", "restore.log")
	if text := wantPrivate(t, name); !strings.Contains(text, "let them go") {
		t.Errorf("the log says\n%s", text)
	}
	p.MustPass(t)
}

// addOthers puts among the images what criu, runtimes and people leave there.
func addOthers(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"README", "descriptors.json", "config.dump", "spec.dump", "network.status",
		"rootfs-diff.tar", "io.kubernetes.cri-o.LogPath",
		"irmap-cache", "stats-restore", "restore.txt", "pid", "criu.log.12", ".hidden"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "artifacts", "logs"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	must(t, err)
	t.Cleanup(func() { socket.Close() })
	must(t, os.Symlink("/nowhere", filepath.Join(dir, "dangling")))
}

// What is no image is in nobody's way; an image that nobody knows is.
func TestStrangersAmongImages(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	addOthers(t, im.Dir)
	p, _ := restore(t, im, "-o", "restore.log", "--pidfile", "mypid")
	p.MustPass(t)
	for _, flags := range [][]string{nil, {"--copy"}} {
		out := filepath.Join(t.TempDir(), "out")
		words := append([]string{"graft", "-D", im.Dir, "-o", out, "--allow-skipped-stages", "--pie-plugin",
			trace(t)}, flags...)
		if status, output := tool(t, im, words...); status != exitOK {
			t.Errorf("graft %v: status %d\n%s", flags, status, output)
		}
		status, output := tool(t, im, "restore", "-d", "-D", out)
		if status != exitOK {
			t.Fatalf("restore of the graft: status %d\n%s", status, output)
		}
		im.Adopt(t).MustPass(t)
	}
	must(t, os.WriteFile(filepath.Join(im.Dir, "news-1.img"), nil, 0o600))
	if status, output := tool(t, im, "restore", "--dry-run", "-D", im.Dir); status != exitFailed ||
		!strings.Contains(output, "news-1.img: this kind of image is not supported") {
		t.Errorf("an unknown image: status %d\n%s", status, output)
	}
}

// A FIFO or a device in the place of any file that crpie reads is an error, which comes at once.
func TestNothingIsWaitedFor(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	makers := map[string]func(name string) error{
		"FIFO":   func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"device": func(name string) error { return syscall.Mknod(name, syscall.S_IFCHR|0o600, 1<<8|5) },
	}
	for kind, make := range makers {
		images, err := os.ReadDir(im.Dir)
		must(t, err)
		for _, e := range images {
			if !strings.HasSuffix(e.Name(), ".img") {
				continue
			}
			dir := filepath.Join(t.TempDir(), "img")
			must(t, os.CopyFS(dir, os.DirFS(im.Dir)))
			must(t, os.Remove(filepath.Join(dir, e.Name())))
			must(t, make(filepath.Join(dir, e.Name())))
			wantNotRegular(t, kind, e.Name(), "restore", "-d", "-D", dir)
			if e.Name() != "pages-1.img" { // into which inspect does not look
				wantNotRegular(t, kind, e.Name(), "inspect", "-D", dir)
			}
			wantNotRegular(t, kind, e.Name(), "graft", "--copy", "-D", dir, "-o", dir+".new",
				"--allow-skipped-stages", "--pie-plugin", trace(t))
		}
		file := filepath.Join(t.TempDir(), "file")
		must(t, make(file))
		dir := filepath.Join(t.TempDir(), "img")
		must(t, os.CopyFS(dir, os.DirFS(im.Dir)))
		must(t, make(filepath.Join(dir, "crpie-graft.json")))
		wantNotRegular(t, kind, "crpie-graft.json", "graft", "--remove", "-D", dir, "-o", dir+".new")
		must(t, make(filepath.Join(dir, "parent")))
		wantNotRegular(t, kind, "parent", "restore", "-d", "-D", dir)
		wantNotRegular(t, kind, "file", "restore", "-d", "-D", file)
		wantNotRegular(t, kind, "file", "restore", "-d", "-D", im.Dir, "--pie-plugin", file)
		wantNotRegular(t, kind, "file", "restore", "-d", "-D", im.Dir, "--config", file)
		wantNotRegular(t, kind, "file", "graft", "-D", im.Dir, "-o", dir+".new", "--pie-plugin", file)
		for _, words := range []string{"inspect -D", "graft --remove -o /nowhere/x -D", "check", "inspect",
			"link"} {
			wantNotRegular(t, kind, "file", append(strings.Fields(words), file)...)
		}
	}
}

func wantNotRegular(t *testing.T, kind, name string, args ...string) {
	t.Helper()
	cmd := exec.Command("timeout", append([]string{"-sKILL", "20", os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), asTool+"=1")
	out, err := cmd.CombinedOutput()
	if status := cmd.ProcessState.ExitCode(); status != exitFailed && status != exitUsage ||
		!strings.Contains(string(out), name) || !strings.Contains(string(out), "it is a "+kind+", not a ") {
		t.Errorf("%s, a %s: crpie %v: %v\n%s", name, kind, args, err, out)
	}
}
