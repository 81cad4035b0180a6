//go:build linux && amd64

package inject

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// A FIFO at the path of what a process has mapped is not opened. Its other end is open here, lest a mistake wait.
func TestFIFOInPlaceOfAnObject(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f (deleted)")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := openProgram(name); err == nil || !strings.Contains(err.Error(), "it is a FIFO") {
		t.Errorf("opened as a program: %v", err)
	}
	n := &names{vmas: []taskview.VMA{{Start: 0x1000, End: 0x2000, Name: name}}, objects: map[string]*object{}}
	n.open(&target{self: process{pid: sys.PID(os.Getpid())}}, 0x1000)
	if o := n.objects[name]; o == nil || o.file != nil {
		t.Errorf("opened for names: %+v", o)
	}
	n.close()
}

// A program that is closed leaves no descriptor behind.
func TestProgramCloses(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	for range 8 {
		p, err := openProgram("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		p.close()
	}
	if now := descriptors(); now > before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}
