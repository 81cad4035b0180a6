//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// What the SDK has for sockets, descriptors, children and namespaces does in a live process what it says.
func TestSDKInALiveProcess(t *testing.T) {
	testenv.NeedRoot(t)
	world := testenv.Plugin(t, "testdata/plugins/world.c")
	for _, what := range []string{"sockets", "descriptors", "children", "namespaces"} {
		if status, _, stderr := crpie(t, "try", world+",what="+what, "--", "/bin/true"); status != exitOK {
			t.Errorf("%s: status %d, %s", what, status, stderr)
		}
	}
}

// The same in a process that is restored, which finds itself as it was.
func TestSDKInARestore(t *testing.T) {
	testenv.NeedCRIU(t)
	world := testenv.Plugin(t, "testdata/plugins/world.c")
	im := testenv.Start(t, "glibc").Dump(t)
	for _, what := range []string{"sockets", "descriptors", "children", "environment"} {
		if status, said := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", world+",what="+what); status != exitOK {
			t.Fatalf("%s: status %d, %s", what, status, said)
		}
		p := im.Adopt(t)
		if what != "environment" {
			must(t, p.Kill())
			continue
		}
		p.MustPass(t)
	}
}

// A variable grows, and one that the program has set, and new ones are found by getenv, in every kind of program; later
// changes by the program itself work on.
func TestEnvironmentGrows(t *testing.T) {
	world := testenv.Plugin(t, "testdata/plugins/world.c")
	bin := testenv.CRPIE(t)
	for _, link := range []string{"-pie", "-no-pie -fno-pie", "-static", "-static-pie"} {
		program := filepath.Join(t.TempDir(), "environ")
		gcc := exec.Command(testenv.NeedTool(t, "gcc"), append(strings.Fields(link), "-O2", "-o", program,
			filepath.Join(testenv.Root(), "testdata", "programs", "environ.c"))...)
		if out, err := gcc.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		try := exec.Command(bin, "try", "--at", "output:ready", world+",what=environment", "--", program)
		try.Env = []string{"GROWN=small", "KEPT=as it was"}
		if out, err := try.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", link, err, out)
		}
	}
	python := exec.Command(bin, "try", world+",what=environment", "--", testenv.NeedTool(t, "python3"), "-c",
		"import os; print(len(os.environ['GROWN']))")
	python.Env = append(os.Environ(), "GROWN=small")
	if out, err := python.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n5000\n") &&
		!strings.HasPrefix(string(out), "5000\n") {
		t.Errorf("%v\n%s", err, out)
	}
	// A program in Go has no environ.
	if out, err := exec.Command(bin, "try", world+",what=none", "--", bin, "version").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
