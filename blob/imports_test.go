package blob_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
)

// TestPurePackagesImportNobodyToTheirLeft holds the import graph: blob -> relocator -> loader -> stage, with images
// apart, and nothing in them that makes a system call.
func TestPurePackagesImportNobodyToTheirLeft(t *testing.T) {
	const module = "github.com/crpie/crpie/"
	ours := map[string][]string{
		"loader": {"internal/abi", "internal/dwarfline", "internal/escape", "internal/memory", "internal/sizes",
			"stage"},
		"relocator": {"loader"},
		"blob": {"internal/abi", "internal/escape", "internal/memory", "internal/several", "internal/sizes",
			"loader", "relocator", "stage"},
		"images": {"images/internal/wire", "images/pb", "internal/escape", "internal/memory",
			"internal/several", "internal/uapi"},
		"internal/abi": {},
		"stage":        {},

		"refusal":           {"internal/several"},
		"internal/refuse":   {"images/pb", "internal/escape", "refusal"},
		"internal/memory":   {},
		"internal/taskview": {"images", "images/pb", "internal/abi", "internal/memory", "internal/sys"},
		"internal/exports":  {"internal/memory", "internal/taskview", "internal/uapi"},
		"internal/buildid":  {"images/pb"},
		"internal/imagemem": {"images", "images/pb", "internal/buildid", "internal/exports", "internal/memory",
			"internal/renew", "internal/taskview"},
		"internal/resident":    {"blob", "internal/abi", "internal/exports", "loader", "stage"},
		"internal/several":     {},
		"images/pb":            {"images/internal/wire"},
		"images/internal/wire": {},
		"internal/dwarfline":   {},
		"internal/sizes":       {},
		"internal/uapi":        {},
	}
	impure := []string{"os", "os/exec", "syscall", "net", "unsafe", "C", "golang.org/x/sys/unix"}
	for name, allowed := range ours {
		out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, module+name).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", name, err)
		}
		for _, path := range strings.Fields(string(out)) {
			own, isOurs := strings.CutPrefix(path, module)
			if slices.Contains(impure, path) || isOurs && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

// TestEveryMachineIsPlacedOnEveryHost places a plugin for aarch64, whatever this test runs on.
func TestEveryMachineIsPlacedOnEveryHost(t *testing.T) {
	img := imageOf(t, "aarch64-linux-gnu-gcc"+strings.TrimPrefix(gcc, "gcc"), 0x7f0000000000)
	m := memory{t, img}
	hook := m.addr(m.addr(img.Table+abi.TableHooksOff) + abi.TableHookFnOff)
	loc, ok := img.Locate(hook)
	if !ok || loc.Function != "hook" || loc.FunctionOffset != 0 || loc.Line == 0 {
		t.Errorf("the first hook is at %+v, %v", loc, ok)
	}
}
