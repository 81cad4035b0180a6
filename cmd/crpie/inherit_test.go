//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// heirs are what a restore gets in place of the files of the victim, and its flags.
type heirs struct {
	files  []*os.File // from descriptor 3 on
	flags  []string
	shared string
	pipe   [2]*os.File
	term   *terminal
}

func (h *heirs) add(file *os.File, resource string) {
	h.flags = append(h.flags, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", 3+len(h.files), resource))
	h.files = append(h.files, file)
}

// externals names the resources of a victim as criu(8) does.
func externals(t *testing.T, victim *testenv.Process, term *terminal) (file, pipe, tty string) {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", victim.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		link := fmt.Sprintf("/proc/%d/fd/%s", victim.Pid, fd.Name())
		target, _ := os.Readlink(link)
		var st syscall.Stat_t
		if err := syscall.Stat(link, &st); err != nil {
			t.Fatal(err)
		}
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", victim.Pid, fd.Name()))
		switch {
		case target == filepath.Join(victim.Dir, "external"):
			var mount int
			fmt.Sscan(string(regexp.MustCompile(`mnt_id:\s*(\d+)`).FindSubmatch(info)[1]), &mount)
			file = fmt.Sprintf("file[%x:%x]", mount, st.Ino)
		case target == term.slave.Name():
			tty = fmt.Sprintf("tty[%x:%x]", st.Rdev, st.Dev)
		case strings.HasPrefix(target, "pipe:") && pipe == "": // the first of them
			pipe = target
		}
	}
	return file, pipe, tty
}

func newHeirs(t *testing.T, victim *testenv.Process, file, pipe, tty string) *heirs {
	t.Helper()
	h, dir := &heirs{}, t.TempDir()
	h.shared = filepath.Join(dir, "shared")
	for _, name := range []string{"named", "external", "shared"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("the new one"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		resource := strings.TrimPrefix(filepath.Join(victim.Dir, name), "/")
		if name == "external" {
			resource = file
		}
		h.add(f, resource)
	}
	var err error
	if h.pipe[0], h.pipe[1], err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.pipe[0].Close(); h.pipe[1].Close() })
	h.pipe[1].WriteString("through the pipe")
	h.add(h.pipe[1], pipe)
	h.term = newTerminal(t)
	h.add(h.term.slave, tty)
	return h
}

// check sees that the victim has used them.
func (h *heirs) check(t *testing.T, p *testenv.Process) {
	t.Helper()
	p.MustPass(t)
	for _, want := range []string{"\nnamed: the new one\n", "\nexternal: the new one\n",
		"\npipe: through the pipe and back\n"} {
		if !strings.Contains(p.Output(), want) {
			t.Errorf("output lacks %q:\n%s", want, p.Output())
		}
	}
	if got, _ := os.ReadFile(h.shared); string(got) != "the new oneof the child and of the parent" {
		t.Errorf("the shared file has %q", got)
	}
	back := make([]byte, 64)
	if n, err := h.pipe[0].Read(back); err != nil || string(back[:n]) != "back" {
		t.Errorf("the pipe has %q, %v", back[:n], err)
	}
	h.term.await(t, "hello\r\n")
}

// What was dumped as external, and whatever else one likes, is replaced by descriptors of whoever restores.
func TestInheritFD(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	first := newTerminal(t)
	victim := testenv.Start(t, "inherit", first.slave.Name())
	file, pipe, tty := externals(t, victim, first)
	im := victim.Dump(t, "--external", file, "--external", tty)
	for name, argv := range map[string][]string{
		"criu":  {criu.Path, "restore", "-d", "-D", im.Dir, "-W", t.TempDir()},
		"crpie": {os.Args[0], "restore", "-d", "-D", im.Dir, "--pie-plugin", trace(t)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeirs(t, victim, file, pipe, tty)
			cmd := im.Command(t, argv[0], append(argv[1:], h.flags...)...)
			cmd.Env, cmd.ExtraFiles = append(cmd.Env, asTool+"=1"), h.files
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			h.check(t, im.Adopt(t))
		})
	}
}

// What is spelled wrong is said before the images are looked at.
func TestInheritMisuse(t *testing.T) {
	for spec, want := range map[string]string{
		"--inherit-fd=fd[1]":           "--inherit-fd fd[1]: want fd[N]:RESOURCE",
		"--inherit-fd=1:tmp/x":         "--inherit-fd 1:tmp/x: want fd[N]:RESOURCE",
		"--inherit-fd=fd[77777]:tmp/x": "--inherit-fd fd[77777]:tmp/x: crpie was started without descriptor 77777",
		"--external=mnt[]:sys":         "--external=mnt[]:sys: not supported",
		"--external=tty[8:X]":          `invalid argument "tty[8:X]" for "--external" flag: want file[MNT_ID:INODE], tty[RDEV:DEV], mnt[KEY]:PATH, `,
	} {
		var out bytes.Buffer
		status := run([]string{"restore", "-D", "/nonexistent", spec}, nil, &out, &out)
		if status != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%s: status %d, output:\n%s\nwant %s", spec, status, out.String(), want)
		}
	}
}
