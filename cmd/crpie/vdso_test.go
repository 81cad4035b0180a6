//go:build linux && amd64

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/testenv"
)

// foreign is a vDSO that is smaller, has its functions elsewhere, one that no kernel has, and all of them do nothing.
func foreign(t *testing.T) func([]byte) []byte {
	t.Helper()
	dir := t.TempDir()
	object := filepath.Join(dir, "vdso.so")
	source := filepath.Join(testenv.Root(), "testdata", "vdso")
	out, err := exec.Command(testenv.NeedTool(t, "gcc"), "-shared", "-nostdlib", "-fPIC", "-O1",
		"-Wl,--hash-style=sysv",
		"-Wl,-T,"+filepath.Join(source, "vdso.lds"), "-o", object,
		filepath.Join(source, "vdso.c")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image, err := os.ReadFile(object)
	must(t, err)
	file, err := elf.NewFile(bytes.NewReader(image))
	must(t, err)
	image = image[:file.Progs[0].Filesz]
	image = append(image, make([]byte, images.PageSize-len(image))...)
	return func([]byte) []byte { return image }
}

var otherVDSO = flag.String("vdso", "", "`file` with the vDSO of another kernel (vdso64.so), for TestRestoreOtherVDSO")

// named is the vDSO that -vdso names.
func named(t *testing.T) func([]byte) []byte {
	t.Helper()
	image, err := os.ReadFile(*otherVDSO)
	must(t, err)
	image = append(image, make([]byte, -len(image)&(images.PageSize-1))...)
	return func([]byte) []byte { return image }
}

// A dump from another kernel: the addresses of functions that the process knows still lead to the same functions, of
// this kernel. CRIU restores the same images, and what was restored.
func TestRestoreOtherVDSO(t *testing.T) {
	testenv.NeedCRIU(t)
	marked, foreign := testenv.MarkVDSO(t), foreign(t)
	type dump struct {
		victim, how string
		other       func([]byte) []byte
	}
	dumps := []dump{
		{"vdso", "foreign", foreign}, {"vdso", "marked", marked},
		{"glibc", "marked", marked}, {"golang", "marked", marked}, {"python", "marked", marked},
		{"threads", "marked", marked},
		{"tree", "marked", marked},
	}
	if *otherVDSO != "" {
		dumps = append(dumps, dump{"vdso", "named", named(t)})
	}
	for _, tc := range dumps {
		t.Run(tc.victim+"/"+tc.how, func(t *testing.T) {
			im := testenv.Start(t, tc.victim).Dump(t).WithVDSO(t, tc.other)
			// the foreign one's clock_getres, which does nothing, is left as it is by CRIU 4.1
			if tc.how == "marked" {
				im.RestoreCRIU(t).MustPass(t)
			}
			p, _ := restore(t, im, "--pie-plugin", trace(t))
			if inPlace(t, p.Pid) {
				t.Error("this kernel's vDSO is where the dumped one was")
			}
			p.MustPass(t)
			p, _ = restore(t, im)
			again := p.Dump(t)
			again.RestoreCRIU(t).MustPass(t)
			p, _ = restore(t, again.WithVDSO(t, marked))
			p.MustPass(t)
		})
	}
}

// What CRIU has redirected, and dumped again, is redirected once more.
func TestRestoreCRIUsProxy(t *testing.T) {
	testenv.NeedCRIU(t)
	marked := testenv.MarkVDSO(t)
	for _, name := range []string{"glibc", "vdso"} {
		t.Run(name, func(t *testing.T) {
			again := testenv.Start(t, name).Dump(t).WithVDSO(t, marked).RestoreCRIU(t).Dump(t)
			p, _ := restore(t, again, "--pie-plugin", trace(t))
			p.MustPass(t)
		})
	}
}

// inPlace: the kernel's vDSO is where the auxiliary vector says.
func inPlace(t *testing.T, pid int) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	auxv, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	must(t, err)
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			var start uint64
			fmt.Sscanf(line, "%x-", &start)
			const sysinfoEhdr = 33 // getauxval(3)
			for ; len(auxv) >= 16; auxv = auxv[16:] {
				if binary.LittleEndian.Uint64(auxv) == sysinfoEhdr {
					return binary.LittleEndian.Uint64(auxv[8:]) == start
				}
			}
		}
	}
	t.Fatalf("process %d has no vDSO:\n%s", pid, maps)
	return false
}
