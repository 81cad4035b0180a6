package graft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const samples = "../testdata/images"

// sample loads a committed image directory, with pages files in which each page has the number of its place.
func sample(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{}
	paths, err := filepath.Glob(filepath.Join(samples, name, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sample %s: %v", name, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir[filepath.Base(path)] = &fstest.MapFile{Data: data, ModTime: time.Unix(1e9, 0)}
	}
	addPages(t, dir)
	return dir
}

// addPages makes a pages file for each pagemap, which ReadPagemap wants to see and knows the length of.
func addPages(t testing.TB, dir fstest.MapFS) {
	t.Helper()
	pages := make([]byte, 8<<20)
	for i := 0; i < len(pages); i += pageSize {
		copy(pages[i:], fmt.Sprint(i/pageSize))
	}
	found := fstest.MapFS{}
	enough := maps.Clone(dir)
	for id := range 16 {
		enough[fmt.Sprintf("pages-%d.img", id)] = &fstest.MapFile{Data: pages}
	}
	for name := range dir {
		if !strings.HasPrefix(name, "pagemap-") {
			continue
		}
		pm, err := images.ReadPagemap(enough, name)
		if err != nil {
			t.Fatal(err)
		}
		found[pm.PagesFile] = &fstest.MapFile{Data: pages[:pm.Bytes()]}
	}
	maps.Copy(dir, found)
}

const compiler = "gcc -O2 -fPIC -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables"

func plugin(t testing.TB, stages ...string) Plugin {
	t.Helper()
	source := "#include <crpie/plugin.h>\n"
	for _, s := range stages {
		source += fmt.Sprintf("static int at_%s(struct crpie_ctx *ctx) { return ctx->pid < 0; }\n"+
			"CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_%s, at_%s)\n", s, s, s)
	}
	p := loadertest.MustLoad(t, compiler, ".c", source, loader.Options{})
	return Plugin{Input: blob.Input{Plugin: p, Params: []blob.Param{{Key: "key", Value: "value"}}}, SHA256: "00"}
}

func options(t testing.TB) *Options {
	return &Options{Plugins: []Plugin{plugin(t, "PRE_SIGRETURN", "PRE_SIGRETURN_THREAD")}, Tool: "test"}
}

func open(t testing.TB, dir fs.FS, parents ...fs.FS) *images.Dir {
	t.Helper()
	d, err := images.Open(dir, parents...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// apply makes the new directory of a plan.
func apply(t testing.TB, old fstest.MapFS, plan *Plan) fstest.MapFS {
	t.Helper()
	now := maps.Clone(old)
	for _, f := range plan.Files {
		var b bytes.Buffer
		for _, p := range f.Parts {
			if p.From == "" {
				b.Write(p.Data)
				continue
			}
			b.Write(old[p.From].Data[p.Offset:][:p.Size])
		}
		now[f.Name] = &fstest.MapFile{Data: b.Bytes()}
	}
	return now
}

// What images say about memory is the same before and after, page by page; the graft's own comes on top.
func TestMemoryBelowTheGraftIsUnchanged(t *testing.T) {
	for _, name := range []string{"static", "glibc", "golang", "python", "threads", "tree", "files"} {
		for _, alone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s copy=%v", name, alone), func(t *testing.T) {
				old := sample(t, name)
				opts := options(t)
				opts.Copy = alone
				was := open(t, old)
				plan, err := New(was, opts)
				if err != nil {
					t.Fatal(err)
				}
				var parents []fs.FS
				if !alone {
					parents = []fs.FS{old}
				}
				now := apply(t, old, plan)
				compare(t, was, open(t, now, parents...))
			})
		}
	}
}

func compare(t *testing.T, was, is *images.Dir) {
	t.Helper()
	for i, old := range was.Tasks {
		task := is.Tasks[i]
		if old.Dead() {
			continue
		}
		added := len(task.Mm.GetVmas()) - len(old.Mm.GetVmas())
		if added < 5 {
			t.Errorf("task %d: %d new mappings", task.Pid, added)
		}
		before, after := contents(t, was, old), contents(t, is, task)
		for addr, page := range before {
			if after[addr] != page {
				t.Fatalf("task %d: page 0x%x is %q, was %q", task.Pid, addr, after[addr], page)
			}
		}
		if len(after) <= len(before) {
			t.Errorf("task %d: %d pages, had %d", task.Pid, len(after), len(before))
		}
		for k, th := range task.Threads {
			regs := th.Core.GetThreadInfo().GetGpregs()
			if regs.GetIp() == old.Threads[k].Core.GetThreadInfo().GetGpregs().GetIp() ||
				th.Core.GetThreadCore().GetBlkSigset() != ^uint64(0) {
				t.Errorf("thread %d does not begin in the graft", th.Tid)
			}
		}
	}
}

// contents gives the text at the start of every page.
func contents(t *testing.T, d *images.Dir, task *images.Task) map[uint64]string {
	t.Helper()
	pieces, err := d.Pieces(task.Pagemap)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[uint64]string{}
	for _, p := range pieces {
		b, err := d.Read(p.Range())
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Pages {
			pages[p.Vaddr+i*pageSize] = string(b[i*pageSize:][:16])
		}
	}
	return pages
}

func TestRefusals(t *testing.T) {
	both := []string{"PRE_SIGRETURN", "POST_MEMORY"}
	for _, c := range []struct {
		name, sample string
		change       func(o *Options)
		want         string
	}{
		{"early stage", "static", func(o *Options) { o.Plugins = []Plugin{plugin(t, both...)} },
			"cannot graft: plugin plugin: hook at_POST_MEMORY registers PIE_RST_POST_MEMORY, which only crpie restore runs\n" +
				"  hint: use crpie restore, or --allow-skipped-stages to graft without this hook"},
		{"early stage allowed", "static", func(o *Options) {
			o.Plugins, o.AllowSkipped = []Plugin{plugin(t, both...)}, true
		}, "<nil>"},
		{"only early stages", "static", func(o *Options) {
			o.Plugins, o.AllowSkipped = []Plugin{plugin(t, "POST_FILES")}, true
		},
			"cannot graft: plugins: no hook is left that a graft could run: PIE_RST_PRE_SIGRETURN_THREAD or PIE_RST_PRE_SIGRETURN"},
		{"no such task", "tree", func(o *Options) { o.Tasks = []Selector{{Pid: 1}, {Comm: "nobody"}} },
			"cannot graft, for 2 reasons:\n--task pid:1: picks no living task; there are 10287 \"python3\", 10289 \"python3\", 10290 \"python3\"\n" +
				"--task comm:nobody: picks no living task; there are 10287 \"python3\", 10289 \"python3\", 10290 \"python3\""},
		{"selects no task", "tree", func(o *Options) {
			o.Plugins[0].Tasks = []Selector{{Root: true}, {Comm: "x"}}
		},
			"cannot graft: plugin plugin select=comm:x: picks no living task; there are 10287 \"python3\", 10289 \"python3\", 10290 \"python3\""},
		{"nothing in common", "tree", func(o *Options) {
			o.Tasks, o.Plugins[0].Tasks = []Selector{{Root: true}}, []Selector{{Pid: 10290}}
		}, "cannot graft: images: no plugin runs in any living task that --task permits"},
		{"dead task", "tree", func(o *Options) { o.Tasks = []Selector{{Pid: 10291}} },
			"cannot graft: --task pid:10291: picks no living task; there are 10287 \"python3\", 10289 \"python3\", 10290 \"python3\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := options(t)
			if c.change != nil {
				c.change(opts)
			}
			if _, err := New(open(t, sample(t, c.sample)), opts); fmt.Sprint(err) != c.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

// Graft onto a directory on disk; cut any file short, and nothing is written.
func TestNothingIsWrittenHalf(t *testing.T) {
	old := sample(t, "glibc")
	opts := options(t)
	for name := range old {
		if name == "stats-dump" || strings.HasPrefix(name, "pages-") {
			continue // pages: found by size; nobody needs the statistics
		}
		cut := maps.Clone(old)
		data := old[name].Data
		cut[name] = &fstest.MapFile{Data: data[:len(data)-1]}
		_, err := graftDir(t, cut, opts)
		if len(data) > 12 && (err == nil || !strings.Contains(err.Error(), "images "+name+": ")) {
			t.Errorf("%s cut short: %v", name, err)
		}
	}
	out, err := graftDir(t, old, opts)
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(out, "parent")); err != nil || target != filepath.Join("..", "in") {
		t.Errorf("parent is %q, %v", target, err)
	}
	again := open(t, os.DirFS(out), old)
	if err := (&Plan{}).WriteDir(t.Context(), out, out); err == nil ||
		!strings.Contains(err.Error(), "it exists already") {
		t.Errorf("a second time: %v", err)
	}
	_, err = New(again, opts)
	if want := "these images are grafted already"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("grafting twice: %v", err)
	}
}

// graftDir writes dir to disk and grafts. On an error there must be nothing but what was there.
func graftDir(t *testing.T, dir fstest.MapFS, opts *Options) (out string, err error) {
	t.Helper()
	base := t.TempDir()
	in, out := filepath.Join(base, "in"), filepath.Join(base, "out")
	if err := os.CopyFS(in, dir); err != nil {
		t.Fatal(err)
	}
	var plan *Plan
	d, err := images.Open(os.DirFS(in))
	if err == nil {
		plan, err = New(d, opts)
	}
	if err == nil {
		err = plan.WriteDir(t.Context(), in, out)
	}
	entries, readErr := os.ReadDir(base)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err != nil && len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	return out, err
}

// A full disk in the middle leaves nothing.
func TestFailedWriteLeavesNothing(t *testing.T) {
	base := t.TempDir()
	plan := &Plan{Files: []File{{"a.img", []Part{{Data: []byte("x")}}},
		{"b.img", []Part{{From: "missing.img", Size: 1}}}}}
	err := plan.WriteDir(t.Context(), base, filepath.Join(base, "out"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// FuzzNew: whatever one image of a directory holds, there is an error or a directory that opens again.
func FuzzNew(f *testing.F) {
	old := sample(f, "threads")
	names := slices.Sorted(maps.Keys(old))
	for i, name := range names {
		if strings.HasPrefix(name, "core-18656") || strings.HasPrefix(name, "mm-") ||
			strings.HasPrefix(name, "pagemap-") {
			f.Add(i, old[name].Data)
		}
	}
	opts := options(f)
	opts.ParentMissing = true
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		dir := maps.Clone(old)
		dir[names[uint(which)%uint(len(names))]] = &fstest.MapFile{Data: data}
		d, err := images.Open(dir)
		if err != nil {
			return
		}
		plan, err := New(d, opts)
		if err != nil {
			return
		}
		if _, err := images.Open(apply(t, dir, plan)); err != nil {
			t.Errorf("the grafted images do not open: %v", err)
		}
	})
}

// FuzzProvenance: --remove reads a file that anybody may have written.
func FuzzProvenance(f *testing.F) {
	old := sample(f, "static")
	opts := options(f)
	opts.Copy = true
	plan, err := New(open(f, old), opts)
	if err != nil {
		f.Fatal(err)
	}
	grafted := apply(f, old, plan)
	f.Add(grafted[ProvenanceFile].Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := maps.Clone(grafted)
		dir[ProvenanceFile] = &fstest.MapFile{Data: data}
		p, err := ReadProvenance(dir)
		if err != nil {
			return
		}
		files, err := p.Original(dir)
		if err != nil {
			return
		}
		for _, file := range files {
			for _, part := range file.Parts {
				if part.From != "" && part.Offset+part.Size > int64(len(dir[part.From].Data)) {
					t.Errorf("%s: %d bytes at %d", part.From, part.Size, part.Offset)
				}
			}
		}
	})
}

func TestProvenanceRoundTrip(t *testing.T) {
	old := sample(t, "glibc")
	opts := options(t)
	opts.Copy = true
	plan, err := New(open(t, old), opts)
	if err != nil {
		t.Fatal(err)
	}
	grafted := apply(t, old, plan)
	p, err := ReadProvenance(grafted)
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.Original(grafted)
	if err != nil {
		t.Fatal(err)
	}
	back := apply(t, grafted, &Plan{Files: files})
	for name := range old {
		if !bytes.Equal(back[name].Data, old[name].Data) {
			t.Errorf("%s is not what it was", name)
		}
	}
	if text, err := json.Marshal(p); err != nil || strings.Contains(string(text), `"value"`) {
		t.Errorf("%v: the value of a parameter is in %s", err, text)
	}
}
