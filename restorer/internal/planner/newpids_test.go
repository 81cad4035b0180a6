package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/namespaces"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

const taken = "end that process, or use --new-pids: in a pid namespace of their own the tasks have their numbers beside it"

// inNewPids plans the restore of a dump in a new pid namespace, on a host where every number is taken.
func inNewPids(t *testing.T, dir *images.Dir, host *host.Host) (*plan.Plan, error) {
	t.Helper()
	host.Holder = func(int) string { return "somebody" }
	own := namespaces.New(dir, &namespaces.Options{NewPIDs: true})
	return buildSample(t, dir, host, &job.Options{Namespaces: own})
}

// zygoteOf lists the operations of a zygote.
func zygoteOf(p *plan.Plan) (all []string) {
	for i := range p.Zygote {
		all = append(all, p.Zygote[i].String())
	}
	return all
}

// The zygote, which is the root task, gives each proc the flags and options that it had.
func TestNewPidsMountProc(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	h := hosttest.New(dir)
	h.ProcMounts = func() []host.ProcMount {
		return []host.ProcMount{{Path: "/proc", Flags: 0xe, Options: "hidepid=invisible"}, {Path: "/srv/a b/proc"}}
	}
	p, err := inNewPids(t, dir, h)
	if err != nil {
		t.Fatal(err)
	}
	if !p.First || !p.PidNamespace || !p.Itself {
		t.Errorf("first %v, pid namespace %v, itself %v; want all", p.First, p.PidNamespace, p.Itself)
	}
	got := strings.Join(zygoteOf(p), "\n")
	for _, want := range []string{
		"unshare(CLONE_NEWNS)", `mount("none", "/", NULL, MS_REC|MS_SLAVE, NULL)`,
		`mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, "hidepid=invisible")`,
		`mount("proc", "/srv/a b/proc", "proc", 0, NULL)`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the zygote lacks %s:\n%s", want, got)
		}
	}
}

// Where no proc shows this pid namespace, nothing is mounted.
func TestNewPidsWithoutProc(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	h := hosttest.New(dir)
	h.ProcMounts = func() []host.ProcMount { return nil }
	p, err := inNewPids(t, dir, h)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(zygoteOf(p), func(op string) bool { return strings.Contains(op, "mount(") }) {
		t.Errorf("mounts:\n%s", strings.Join(zygoteOf(p), "\n"))
	}
}

// Only a root that is a mount can be kept from passing mounts on, for which there is a need where there is a proc.
func TestNewPidsRefuseRoot(t *testing.T) {
	const refused = "this host: crpie's root is no mount point: with --new-pids no /proc could be mounted for the tasks\n" +
		"  hint: make it one before chroot(8): mount --bind DIR DIR"
	for want, mounts := range map[string][]host.ProcMount{refused: {{Path: "/proc"}}, "": nil} {
		dir := openSample(t, sampleFS(t, "static"))
		h := hosttest.New(dir)
		h.RootIsMount = func() bool { return false }
		h.ProcMounts = func() []host.ProcMount { return mounts }
		_, err := inNewPids(t, dir, h)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("with %v: error %v, want %q", mounts, err, want)
		}
	}
}

// What the new pid namespace lacks, or has for itself, is refused.
func TestNewPidsRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir *images.Dir)
		want   string
	}{
		"a file of a process that was not dumped": {func(dir *images.Dir) {
			for _, f := range dir.Files {
				if f.GetReg() != nil && dir.Tasks[0].Fs.GetCwdId() != f.GetId() {
					f.GetReg().Name = pb.String("/proc/1/status")
				}
			}
		}, "file /proc/1/status: process 1 was not dumped, and is not in the new pid namespace\n" +
			"  hint: restore it without --new-pids"},
		"the number of the first process": {func(dir *images.Dir) { dir.Tasks[0].Threads[0].Tid = 1 },
			"thread 1: its id is taken by the first process of the new pid namespace\n" +
				"  hint: restore it without --new-pids"},
	} {
		dir := openSample(t, sampleFS(t, "static"))
		h := hosttest.New(dir)
		c.change(dir)
		if _, err := inNewPids(t, dir, h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}
