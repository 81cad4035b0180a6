package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/refusal"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/stage"
)

var update = flag.Bool("update", false, "rewrite the golden plans")

// sampleFS is a committed image directory, with pages of zeros in place of the pages files that are not committed.
func sampleFS(tb testing.TB, name string) fstest.MapFS {
	tb.Helper()
	dir := filepath.Join("..", "..", "..", "testdata", "images", name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		fsys[e.Name()] = &fstest.MapFile{Data: data}
	}
	for name := range fsys {
		if !strings.HasPrefix(name, "pagemap-") {
			continue
		}
		pm, err := images.ReadPagemap(withPages(fsys), name)
		if err != nil {
			tb.Fatal(err)
		}
		fsys[pm.PagesFile] = &fstest.MapFile{Data: make([]byte, pm.Bytes())}
	}
	return fsys
}

// withPages has every pages file, large enough for any of the samples.
func withPages(fsys fstest.MapFS) fs.FS {
	all := fstest.MapFS{}
	for name, f := range fsys {
		all[name] = f
	}
	zeros := &fstest.MapFile{Data: make([]byte, 64<<20)}
	for _, name := range []string{"pages-1.img", "pages-2.img", "pages-3.img", "pages-4.img"} {
		all[name] = zeros
	}
	return all
}

// everyStage is a plugin that has a hook at every stage.
var everyStage = []Hooked{{Name: "every", Stages: stage.All()}}

func openSample(tb testing.TB, fsys fs.FS) *images.Dir {
	tb.Helper()
	dir, err := images.Open(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

func buildSample(tb testing.TB, dir *images.Dir, host *host.Host, opts *job.Options) (*plan.Plan, error) {
	tb.Helper()
	layout, _, err := LayBlob(nil)
	if err != nil {
		tb.Fatal(err)
	}
	own := *opts
	own.DumpTime, own.RestoreTime = time.Unix(0, 0), time.Unix(0, 0)
	return Build(dir, layout, everyStage, host, &own)
}

// The plan of a dump is the same wherever and whenever it is made. -update writes what is made now.
func TestGoldenPlans(t *testing.T) {
	for _, name := range []string{"static", "files", "threads", "seccomp", "ptys"} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, name))
			plan, err := buildSample(t, dir, hosttest.New(dir), &job.Options{Readers: -1})
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			plan.Print(&got)
			golden := filepath.Join("testdata", name+".plan")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the plan differs from %s (go test ./restorer/internal/planner -update, then look at git diff)\n%s", golden,
					firstDifference(got.String(), string(want)))
			}
		})
	}
}

// JSON holds the same as the text: what is decoded from it prints as the plan does.
func TestPlansAsJSON(t *testing.T) {
	for _, name := range []string{"static", "files", "threads", "seccomp", "ptys"} {
		dir := openSample(t, sampleFS(t, name))
		planned, err := buildSample(t, dir, hosttest.New(dir), &job.Options{Readers: -1})
		if err != nil {
			t.Fatal(err)
		}
		var text, encoded, again bytes.Buffer
		planned.Print(&text)
		if err := planned.Document().WriteJSON(&encoded); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(encoded.Bytes(), []byte(": null")) {
			t.Errorf("%s: the document has a null", name)
		}
		var d plan.Document
		decoder := json.NewDecoder(&encoded)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&d); err != nil {
			t.Fatal(err)
		}
		if d.Print(&again); again.String() != text.String() {
			t.Errorf("%s:\n%s", name, firstDifference(again.String(), text.String()))
		}
	}
}

// Every argument of the samples that has a name prints with it.
func TestPlansPrintNames(t *testing.T) {
	for _, name := range []string{"static", "files", "threads", "seccomp", "ptys"} {
		dir := openSample(t, sampleFS(t, name))
		planned, err := buildSample(t, dir, hosttest.New(dir), &job.Options{Readers: -1})
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		planned.Print(&text)
		for line := range strings.Lines(text.String()) {
			call, _, _ := strings.Cut(line, "  # ")
			if m := regexp.MustCompile(`\|(0x)?[02-9]|\|1[^<]|(fcntl|ioctl|setsockopt|socket)\([0-9]+, (0x)?[0-9]|(prctl|arch_prctl|madvise|mmap|openat)\((0x)?[0-9]+, [0-9]+\)`).
				FindString(call); m != "" {
				t.Errorf("%s: %q in %s", name, m, line)
			}
		}
	}
}

// What arguments point to is printed: no operation shows an address in the plan, but of code and lists that strace(1)
// leaves out, too.
func TestPlansPrintContents(t *testing.T) {
	address, hidden := regexp.MustCompile(`0x[0-9a-f]+`), regexp.MustCompile(`(filter|auxv|from)=0x[0-9a-f]+`)
	for _, name := range []string{"static", "files", "threads", "seccomp", "ptys"} {
		dir := openSample(t, sampleFS(t, name))
		planned, err := buildSample(t, dir, hosttest.New(dir), &job.Options{Readers: -1})
		if err != nil {
			t.Fatal(err)
		}
		for _, program := range planned.Document().Programs {
			for _, op := range program.Operations {
				for _, word := range address.FindAllString(
					hidden.ReplaceAllString(strings.Join(op.Args, " "), ""), -1) {
					at, _ := strconv.ParseUint(word, 0, 64)
					if at >= planned.Region.Plan && at < planned.Region.End {
						t.Errorf("%s: %s(%s)", name, op.Call, strings.Join(op.Args, ", "))
					}
				}
			}
		}
	}
}

// Every half MiB of a task's memory is worth a reader, as long as there are CPUs; the sample has 1,097,728 bytes.
func TestPageReaders(t *testing.T) {
	for _, c := range []struct{ asked, cpus, want int }{
		{-1, 1, 0}, {-1, 2, 1}, {-1, 3, 2}, {-1, 64, 2}, {0, 64, 0}, {1, 64, 1}, {7, 1, 2},
	} {
		dir := openSample(t, sampleFS(t, "static"))
		host := hosttest.New(dir)
		host.CPUs = c.cpus
		planned, err := buildSample(t, dir, host, &job.Options{Readers: c.asked})
		if err != nil {
			t.Fatal(err)
		}
		ops := planned.Tasks[0].Threads[0].Ops
		at := slices.IndexFunc(ops, func(op plan.Op) bool { return op.Code == abi.OpReadPages })
		if at < 0 {
			t.Fatal("no memory is read")
		}
		if got := ops[at].Args[2]; got != uint64(c.want) {
			t.Errorf("Readers %d on %d CPUs: %d page readers, want %d", c.asked, c.cpus, got, c.want)
		}
	}
}

// Before privileges change every thread waits for the controller: the only one of a plan until it is traced, which it
// is before its first hook, others for the gate.
func TestEveryThreadWaitsForTheTracer(t *testing.T) {
	for _, c := range []struct {
		sample        string
		hooked        []Hooked
		tracer, gates int
	}{{"static", nil, 1, 0}, {"static", everyStage, 1, 0}, {"threads", nil, 0, 33}, {"threads", everyStage, 1, 33}} {
		dir := openSample(t, sampleFS(t, c.sample))
		layout, _, err := LayBlob(nil)
		if err != nil {
			t.Fatal(err)
		}
		planned, err := Build(dir, layout, c.hooked, hosttest.New(dir), &job.Options{})
		if err != nil {
			t.Fatal(err)
		}
		waits := map[abi.OpCode]int{}
		for _, th := range planned.Tasks[0].Threads {
			for _, op := range th.Ops {
				waits[op.Code]++
			}
		}
		if waits[abi.OpWaitTraced] != c.tracer || waits[abi.OpWaitGate] != c.gates {
			t.Errorf("%s with %d plugins: %d waits for the tracer and %d for the gate, want %d and %d", c.sample,
				len(c.hooked), waits[abi.OpWaitTraced], waits[abi.OpWaitGate], c.tracer, c.gates)
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

// Everything that stands in the way is said at once, in order, by name.
func TestRefusalsTogether(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	task := dir.Tasks[0]
	where := "task " + itoa(task.Pid)
	task.Core.GetTc().Personality = pb.Uint32(0)
	task.Core.GetThreadInfo().GetFpregs().GetXsave().XstateBv = pb.Uint64(0xe7)
	task.Sid = 1
	for _, fd := range task.Fds {
		fd.Type = pb.FdTypes_TUNF.Enum()
	}
	dir.Other = []string{"autofs.img"}
	host := hosttest.New(dir)
	host.Xsave.Features = 7
	host.Holder = func(id int) string { return "somebody" }
	_, err := buildSample(t, dir, host, &job.Options{})
	wantRefusal(t, err, `autofs.img: this kind of image is not supported`, where+` thread `+itoa(task.Pid)+`: its id is taken by somebody`,
		where+`: it is in session 1, whose leader was not dumped`,
		`hint: use --shell-job to restore it into the session of crpie`,
		where+` fd 0: tun/tap device: not supported`,
		where+` thread `+itoa(task.Pid)+
			`: AVX-512 registers are in use (XSAVE component 5), which this CPU lacks`)
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// wantRefusal checks that the lines occur in this order.
func wantRefusal(t *testing.T, err error, lines ...string) {
	t.Helper()
	var r *refusal.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v, want a refusal", err)
	}
	rest := err.Error()
	for _, line := range lines {
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Errorf("refusal lacks %q, or has it too early:\n%v", line, err)
			return
		}
		rest = after
	}
}

func TestHostRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(h *host.Host)
		want   string
	}{
		"not root": {func(h *host.Host) {
			h.Caps = 0
		}, "this host: crpie lacks CAP_SYS_ADMIN\n  hint: run it as root"},
		"uids": {func(h *host.Host) {
			h.Caps &^= 1 << uapi.CapSetuid
		}, "this host: crpie lacks CAP_SETUID\n  hint: run it as root"},
		"gids": {func(h *host.Host) {
			h.Caps &^= 1 << uapi.CapSetgid
		}, "this host: crpie lacks CAP_SETGID\n  hint: run it as root"},
		"clocks": {func(h *host.Host) { h.Caps &^= 1 << uapi.CapSysTime },
			"this host: crpie lacks CAP_SYS_TIME, without which clocks cannot go on from where they were\n  hint: run it as root"},
		"vdso size": {func(h *host.Host) {
			h.VDSO.DataSize = memory.PageSize
		}, "its vDSO differs from this kernel's, and cannot be redirected: it is not an ELF file for x86-64"},
		"vdso code": {func(h *host.Host) {
			h.VDSO.Code[0] = 1
		}, "its vDSO differs from this kernel's, and cannot be redirected: it is not an ELF file for x86-64"},
		"capability": {func(h *host.Host) {
			h.Bounds &^= 1 << 21
		}, "the task had CAP_SYS_ADMIN, which this process's bounding set lacks"},
		"limit": {func(h *host.Host) { h.Caps &^= 1 << uapi.CapSysResource; h.Rlimits[7][1] = 10 },
			"RLIMIT_NOFILE: hard limit 20000 is above crpie's own 10, and crpie lacks CAP_SYS_RESOURCE\n  hint: raise crpie's own hard limit first"},
		"descriptors": {func(h *host.Host) { h.Caps &^= 1 << uapi.CapSysResource; h.Rlimits[7][1] = 30000 },
			"this host: 40067 descriptors are needed, but RLIMIT_NOFILE is 30000, and crpie lacks CAP_SYS_RESOURCE\n" +
				"  hint: raise crpie's own hard limit first"},
		"nr_open": {func(h *host.Host) { h.MaxFiles = 30000 },
			"this host: 40067 descriptors are needed, but fs.nr_open is 30000\n  hint: sysctl -w fs.nr_open=40067"},
		"no_new_privs": {func(h *host.Host) { h.NoNewPrivs = true },
			"crpie has no_new_privs, which the task would keep\n  hint: start crpie without it"},
		"file gone": {func(h *host.Host) {
			h.Stat = func(p string) (fs.FileInfo, error) {
				return nil, &fs.PathError{Op: "stat", Path: p, Err: fs.ErrNotExist}
			}
		}, "hint: put back the file that was there at dump time"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			if name == "descriptors" || name == "nr_open" {
				dir.Tasks[0].Fds[0].Fd = pb.Uint32(40000)
			}
			host := hosttest.New(dir)
			tc.change(host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

func TestFindGap(t *testing.T) {
	const size = 1 << 20
	used := []memory.Span{{Start: 0x400000, End: 0x500000}, {Start: 0x10000000, End: 0x7d0000000000}}
	places := map[uint64]bool{}
	for _, random := range []uint64{0, 1 << 20, 1 << 35, 1<<40 + 12345, math.MaxUint64} {
		at, err := plan.FindGap(used, size, random)
		if err != nil || at < 0x7d0000000000 || at+size > memory.HighestAddr || at%memory.PageSize != 0 {
			t.Errorf("findGap with %#x: %#x, %v", random, at, err)
		}
		places[at] = true
	}
	if len(places) != 5 {
		t.Errorf("five random numbers give the places %v", places)
	}
	if at, _ := plan.FindGap(used, size, 0); at != 0x7d8000000000-size/2 {
		t.Errorf("findGap with 0: %#x is not the middle", at)
	}
	full := []memory.Span{{Start: 0, End: plan.TaskSizeMax}}
	if _, err := plan.FindGap(full, size, 0); err == nil {
		t.Error("findGap found a hole in a full address space")
	}
	overlapping := []memory.Span{{Start: memory.LowestAddr, End: memory.HighestAddr - 4<<20},
		{Start: memory.LowestAddr, End: memory.LowestAddr + 1}}
	if at, err := plan.FindGap(overlapping, size, math.MaxUint64); err != nil || at < memory.HighestAddr-4<<20 ||
		at+size > memory.HighestAddr {
		t.Errorf("findGap beside overlapping spans: %#x, %v", at, err)
	}
}

func TestClockOffset(t *testing.T) {
	for ns, want := range map[int64]string{1: "0 1", -1: "-1 999999999", 2e9: "2 0", -3e9: "-3 0"} {
		if got := offset(ns); got != want {
			t.Errorf("offset(%d) = %q, want %q", ns, got, want)
		}
	}
}

// Whatever a directory contains, planning ends with a plan or an error.
func FuzzPlan(f *testing.F) {
	samples := map[string]fstest.MapFS{}
	names := []string{"static", "files", "threads", "seccomp", "tree", "ptys", "names", "inflight"}
	for i, name := range names {
		samples[name] = sampleFS(f, name)
		for file := range 16 {
			f.Add(uint8(i), uint8(file), uint16(30), uint8(0x55), uint16(math.MaxUint16))
		}
	}
	layout, _, err := LayBlob(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sample, file uint8, offset uint16, flip uint8, cut uint16) {
		fsys := fstest.MapFS{}
		var list []string
		for name, data := range samples[names[int(sample)%len(names)]] {
			fsys[name] = data
			if !strings.HasPrefix(name, "pages-") {
				list = append(list, name)
			}
		}
		slices.Sort(list)
		victim := list[int(file)%len(list)]
		data := bytes.Clone(fsys[victim].Data)
		if len(data) > 0 {
			data[int(offset)%len(data)] ^= flip
		}
		fsys[victim] = &fstest.MapFile{Data: data[:min(len(data), int(cut))]}
		dir, err := images.Open(fsys)
		if err != nil {
			return
		}
		plan, err := Build(dir, layout, everyStage, hosttest.New(dir),
			&job.Options{Readers: -1, DumpTime: time.Unix(0, 0), RestoreTime: time.Unix(0, 0)})
		if err == nil && len(plan.Arena.Contents()) > 64<<20 {
			t.Fatalf("a plan of %d bytes", len(plan.Arena.Contents()))
		}
	})
}
