package restorer_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestRoomsImportDownwards holds the doors between the rooms: what a room may touch is what it imports.
func TestRoomsImportDownwards(t *testing.T) {
	const module, planner = "github.com/crpie/crpie/", "restorer/internal/planner"
	leaves := []string{"images", "images/pb", "internal/abi",
		"internal/buildid", "internal/escape", "internal/memory",
		"internal/refuse", "internal/several", "internal/sizes",
		"refusal", "stage"}
	own := append(slices.Clone(leaves), "restorer/internal/plan", "internal/uapi",
		"restorer/internal/host")
	base := append(slices.Clone(own), "restorer/internal/namespaces", "restorer/internal/cgroups/moved")
	job := append(slices.Clone(base), planner+"/job")
	file := append(slices.Clone(job), planner+"/file")
	rooms := map[string][]string{
		"internal/uapi": leaves,
		"restorer/internal/plan": append(slices.Clone(leaves), "blob", "internal/sys",
			"internal/taskview", "internal/uapi"),
		"restorer/internal/host": append(slices.Clone(leaves), "internal/sys",
			"internal/uapi"),
		"restorer/internal/namespaces": append(slices.Clone(own), "internal/sys", "restorer/internal/cgroups",
			"restorer/internal/namespaces/mnt", "restorer/internal/namespaces/net"),
		"restorer/internal/cgroups":        append(slices.Clone(leaves), "internal/sys"),
		"restorer/internal/namespaces/net": append(slices.Clone(own), "internal/sys"),
		"restorer/internal/namespaces/mnt": append(slices.Clone(own), "internal/sys", "restorer/internal/cgroups/moved",
			"restorer/internal/namespaces/tmpfs"),
		"restorer/internal/namespaces/tmpfs": append(slices.Clone(leaves), "internal/sys"),
		planner + "/job":                     append(slices.Clone(base), "report", "internal/renew"),
		planner + "/file":                    job,
		planner + "/mem":                     append(slices.Clone(file), "internal/renew", "internal/taskview"),
		planner + "/tty":                     file,
		planner + "/sock":                    file,
		planner: append(slices.Clone(file), planner+"/mem", planner+"/tty", planner+"/sock",
			"blob", "loader", "internal/pick", "internal/sys", "internal/renew", "restorer/core",
			"internal/clones", "internal/exports", "internal/imagemem", "internal/resident",
			"internal/taskview"),
		"restorer/internal/run": append(slices.Clone(base), "report", "blob", "internal/backtrace",
			"internal/changes", "internal/ended", "internal/gdbserver", "internal/imagemem",
			"internal/sys", "internal/taskview", "pause",
			"restorer/internal/cgroups"),
	}
	for name, allowed := range rooms {
		out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, module+name).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", name, err)
		}
		for _, path := range strings.Fields(string(out)) {
			if own, isOurs := strings.CutPrefix(path, module); isOurs && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", name, own)
			}
		}
	}
}

// TestPlannerIsPure: the planner makes no system call, so that a plan comes out the same on every system.
func TestPlannerIsPure(t *testing.T) {
	const rooms = "github.com/crpie/crpie/restorer/internal/planner/..."
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, rooms).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		for _, path := range strings.Fields(line) {
			if slices.Contains([]string{"os/exec", "syscall", "net", "unsafe", "golang.org/x/sys/unix"},
				path) {
				t.Errorf("%s imports %s", strings.SplitN(line, ":", 2)[0], path)
			}
		}
	}
}
