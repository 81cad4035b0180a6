//go:build linux

package testenv

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/images"
)

// Every victim passes when nothing happens to it, and when CRIU dumps and restores it, twice from the same images, as
// far as CRIU can do that. A tree of this machine's mounts it dumps, but does not restore.
func TestVictimsPassUnderCRIU(t *testing.T) {
	EachDump(t, func(t *testing.T, name string, release Release) {
		args := ControlArgs(name)
		if release == Stable {
			Start(t, name, args...).MustPass(t)
		}
		if name == "mounts" {
			return
		}
		victim := Start(t, name, args...)
		victim.Release = release
		im := victim.Dump(t)
		im.RestoreCRIU(t).MustPass(t)
		if !victim.Connected { // nothing keeps packets from the connections a second time
			im.RestoreCRIU(t).MustPass(t)
		}
		if left := im.Leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// What CRIU writes for the victims decodes without a complaint and agrees with what /proc said before the dump.
func TestImagesAgreeWithProc(t *testing.T) {
	NeedCRIU(t)
	for _, name := range []string{"static", "glibc", "threads", "python", "seccomp"} {
		t.Run(name, func(t *testing.T) {
			p := Start(t, name)
			before := snapshot(t, p)
			im := p.Dump(t)
			root, err := os.OpenRoot(im.Dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			dir, err := images.Open(root.FS())
			if err != nil {
				t.Fatal(err)
			}
			compareImages(t, dir, before)
		})
	}
}

// Snapshots before a dump and after CRIU's restore differ only where CRIU does.
func TestSnapshotAcrossCRIU(t *testing.T) {
	for _, name := range []string{"static", "glibc", "threads", "seccomp"} {
		t.Run(name, func(t *testing.T) {
			p := Start(t, name)
			before := snapshot(t, p)
			after := snapshot(t, p.Dump(t).RestoreCRIU(t))
			for _, line := range likeCRIU(before).Diff(likeCRIU(after)) {
				t.Error(line)
			}
		})
	}
}

// likeCRIU hides what CRIU 4.1 does not bring back: it maps text writable for a moment, which leaves the accounting
// flag "ac" set, shared anonymous memory becomes a memfd with the old name, and there is a new time namespace.
func likeCRIU(s Snapshot) Snapshot {
	hidden := maps.Clone(s)
	delete(hidden, "ns/time")
	for key, line := range hidden {
		if strings.HasPrefix(key, "map ") {
			line = strings.Replace(line, " ac]", "]", 1)
			hidden[key] = strings.Replace(line, "/memfd:/dev/zero", "/dev/zero", 1)
		}
	}
	return hidden
}

func snapshot(t *testing.T, p *Process) Snapshot {
	t.Helper()
	if err := p.Settle(); err != nil {
		t.Fatal(err)
	}
	s, err := TakeSnapshot(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLeftoversAreFound(t *testing.T) {
	p := Start(t, "static")
	if left := Leftovers(p.Mark); len(left) != 1 || left[0] != p.Pid {
		t.Errorf("Leftovers: %v, want %d", left, p.Pid)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if left := Leftovers(p.Mark); len(left) != 0 {
		t.Errorf("Leftovers after the end: %v", left)
	}
}

// A victim that is not what it was says so: one descriptor changed from outside.
func TestVictimsNotice(t *testing.T) {
	p := Start(t, "perl")
	if err := os.Truncate(p.Dir+"/perl.txt", 0); err != nil {
		t.Fatal(err)
	}
	err := p.Finish()
	if err == nil || !strings.Contains(err.Error(), "DIFFERS rest of the file: ") {
		t.Errorf("Finish: %v, want a difference", err)
	}
}

func TestSnapshotDiff(t *testing.T) {
	var snapshots []Snapshot
	p := Start(t, "static")
	for _, nice := range []int{2, 3} {
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, p.Pid, nice); err != nil {
			t.Fatal(err)
		}
		snapshots = append(snapshots, snapshot(t, p).Without("thread *"))
	}
	got := snapshots[0].Diff(snapshots[1])
	if len(got) != 1 || got[0] != "stat nice: was 2, is 3" {
		t.Errorf("Diff: %q", got)
	}
}

func TestProgramsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(Root() + "/docs/support.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Programs() {
		if !strings.Contains(string(doc), "\n| `"+name+"` | ") {
			t.Errorf("docs/support.md does not say what program %s does", name)
		}
	}
}
