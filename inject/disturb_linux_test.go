//go:build linux && amd64

package inject

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/testenv"
)

const disturbSource = "testdata/plugins/disturb.c"

// disturbedProgram has two variables that lie side by side, reservations of 64 GiB with one page each, two pages to be
// moved, and no vDSO.
const disturbedProgram = `#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
__asm__(".pushsection .data\n.balign 8\n.globl first, second\n.type first, @object\n.size first, 4\n"
	".type second, @object\n.size second, 4\nfirst: .long 7\nsecond: .long 70\n.popsection\n");
static void reserve(uint64_t at, uint64_t size)
{
	mmap((void *)at, size, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	madvise((void *)at, size, MADV_NOHUGEPAGE);
	*(int *)(at + 4096 * (size > 8192)) = 3;
}
int main(int argc, char **argv)
{
	dup2(open(argv[1], O_RDONLY), 8);
	dup2(open(argv[1], O_RDWR), 9);
	for (int i = 0; i < 4; i++)
		reserve(0x500000000000 + i * 0x2000000000, 64UL << 30);
	reserve(0x610000000000, 4096);
	reserve(0x620000000000, 4096);
	*(int *)0x610000000000 = 5;
	if (argc > 2) {
		char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
		for (int pages = 1; pages <= 4 && munmap(vdso, pages * 4096) != 0; pages++)
			; /* the kernel does not let it be split */
	}
	write(1, "ready\n", 6);
	for (;;)
		pause();
}
`

// disturb runs the plugin in a new process, and gives the lines of the diff.
func disturb(t *testing.T, o order, parameters string, args ...string) (pid int, lines []string) {
	t.Helper()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, []byte("eight by"), 0o600); err != nil {
		t.Fatal(err)
	}
	pid = startProgram(t, compileText(t, disturbedProgram), append([]string{file}, args...)...)
	o.Pid, o.Diff, o.Plugin = pid, true, testenv.Plugin(t, disturbSource)+parameters
	got := o.carryOut(t)
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	return pid, diffLines(got.Report.Processes[0].Diff)
}

func expectLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A process that a hook leaves behind shares all pages with the program; the changes are seen nevertheless.
func TestDiffBesideAnotherProcess(t *testing.T) {
	pid, lines := disturb(t, order{}, ",symbol=first,what=fork")
	children := sys.Children(sys.PID(pid))
	if len(children) != 1 {
		t.Errorf("%d children", len(children))
	}
	for _, child := range children {
		_ = sys.Kill(child, unix.SIGKILL)
	}
	expectLines(t, lines, "first|||4|07000000|08000000")
}

// A page that comes from elsewhere is not the process's alone, and yet it is another one than before.
func TestDiffOfMovedPages(t *testing.T) {
	_, lines := disturb(t, order{}, ",what=move")
	expectLines(t, lines, "|||1|03|05", "rw-p|")
}

// Variables side by side are two changes.
func TestDiffOfAdjacentVariables(t *testing.T) {
	_, lines := disturb(t, order{}, ",symbol=first,also=second")
	expectLines(t, lines, "first|||4|07000000|08000000", "second|||4|46000000|47000000")
}

// Reservations are looked into, however large they are.
func TestDiffOfReservations(t *testing.T) {
	_, lines := disturb(t, order{}, fmt.Sprintf(",addr=%d", 0x500000001000))
	expectLines(t, lines, "|||1|03|04")
}

// Where there is no vDSO the trampoline lies in a page of a file, and is no change.
func TestDiffWithoutVDSO(t *testing.T) {
	pid, lines := disturb(t, order{}, ",symbol=first", "no vDSO")
	if strings.Contains(mappings(t, pid), "[vdso]") {
		t.Fatal("it has a vDSO")
	}
	expectLines(t, lines, "first|||4|07000000|08000000")
}

// Addresses that the kernel has kept only for a while, or has refused, are not warned of.
func TestPointersThatWereTakenBack(t *testing.T) {
	_, lines := disturb(t, order{}, ",what=undo")
	expectLines(t, lines)
	_, lines = disturb(t, order{}, ",what=altstack")
	expectLines(t, lines, "pointer ")
}

// A rehearsal reads from files without moving the program's position, and says of a file that is written to as well
// that it has moved.
func TestPositionsInARehearsal(t *testing.T) {
	pid, lines := disturb(t, order{Rehearse: true}, ",what=read")
	common := func(line string) bool {
		return strings.HasSuffix(line, "position 4, flags 0100002, of the program as well")
	}
	own := func(line string) bool { return strings.HasSuffix(line, "position 4, flags 0100000") }
	if len(lines) != 4 || !own(lines[0]) || !common(lines[1]) || !own(lines[2]) || !common(lines[3]) {
		t.Errorf("%q", lines)
	}
	for fd, want := range map[int]string{3: "0", 4: "4", 8: "0", 9: "4"} {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
		if got := parseStatus(string(info))["pos"]; err != nil || got != want {
			t.Errorf("the position of descriptor %d is %s: %v", fd, got, err)
		}
	}
}

// Nothing is read of what a device has mapped.
func TestDevicesAreNotRead(t *testing.T) {
	page, err := unix.Mmap(-1, 0, memory.PageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	pid := sys.PID(os.Getpid())
	mem, err := sys.OpenMemory(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	at := addressOf(page)
	for name, want := range map[string]int{"/dev/null": 0, "/dev/zero (deleted)": 1, "": 1} {
		p := &target{pid: pid, mem: mem, diff: changes.New()}
		p.before = &before{vmas: []taskview.VMA{{Start: at, End: at + memory.PageSize, Name: name,
			Prot: unix.PROT_READ | unix.PROT_WRITE, Flags: unix.MAP_SHARED}}}
		p.keepShared()
		if got := len(p.before.bytes); got != want || len(p.diff.Unknown) != 1-want {
			t.Errorf("%q: %d kept, %q", name, got, p.diff.Unknown)
		}
	}
	all := procmaps.Smaps("7f0000000000-7f0000001000 rw-s 00000000 00:0b 100 /sys/devices/resource0\n" +
		"Rss:                   4 kB\nSwap:                  8 kB\nVmFlags: rd wr sh pf io \n" +
		"7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \nRss: 0 kB\nVmFlags: rd wr wf\n")
	if len(all) != 2 || !all[0].Has("io") || !all[0].Has("x", "pf") || all[0].Resident != 12 ||
		all[1].Has("io", "pf") || !all[1].Has("wf") || all[1].Resident != 0 || all[1].Start != 0x7f0000001000 {
		t.Errorf("%+v", all)
	}
}

func addressOf(b []byte) uint64 { return uint64(reflect.ValueOf(b).Pointer()) }
