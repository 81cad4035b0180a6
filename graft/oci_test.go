package graft

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// links of an archive in a store's files begin with this.
const linkMark = "link to "

func sha(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type jsonObject = map[string]any

// imageSpec says what image to make; tests of hostile ones change its documents before they get their digests.
type imageSpec struct {
	layers []string // unpacked
	comp   compression
	config func(jsonObject)
	// manifest and index change the documents of a layout.
	manifest, index func(jsonObject)
}

// configuration makes that of an image, with members that crpie does not know.
func (s *imageSpec) configuration(t *testing.T) []byte {
	var ids []string
	for _, l := range s.layers {
		ids = append(ids, "sha256:"+sha([]byte(l)))
	}
	config := jsonObject{
		"architecture": "amd64", "os": "linux", "unknown": "<&>",
		"config": jsonObject{"Labels": jsonObject{"a": "b"}},
		"rootfs": jsonObject{"type": "layers", "diff_ids": ids},
	}
	if s.config != nil {
		s.config(config)
	}
	return mustJSON(t, config)
}

// layout makes an OCI image layout, as buildah and skopeo write it.
func (s *imageSpec) layout(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"oci-layout": `{"imageLayoutVersion": "1.0.0"}`}
	blob := func(kind string, data []byte) jsonObject {
		files["blobs/sha256/"+sha(data)] = string(data)
		return jsonObject{"mediaType": kind, "digest": "sha256:" + sha(data), "size": len(data)}
	}
	var layers []jsonObject
	for _, l := range s.layers {
		layers = append(layers, blob("application/vnd.oci.image.layer.v1.tar+"+s.comp.name,
			packed(t, s.comp, []byte(l))))
	}
	manifest := jsonObject{
		"schemaVersion": 2, "mediaType": manifestTypes[0], "layers": layers,
		"config":      blob("application/vnd.oci.image.config.v1+json", s.configuration(t)),
		"annotations": jsonObject{"io.kubernetes.cri-o.annotations.checkpoint.name": "web"},
	}
	if s.manifest != nil {
		s.manifest(manifest)
	}
	one := blob(manifestTypes[0], mustJSON(t, manifest))
	one["annotations"] = jsonObject{"org.opencontainers.image.ref.name": "latest"}
	index := jsonObject{"schemaVersion": 2, "manifests": []jsonObject{one}}
	if s.index != nil {
		s.index(index)
	}
	files["index.json"] = string(mustJSON(t, index))
	return files
}

// saved makes what podman save and skopeo's docker-archive write, with the links for older tools.
func (s *imageSpec) saved(t *testing.T) map[string]string {
	t.Helper()
	config := s.configuration(t)
	files := map[string]string{sha(config) + ".json": string(config)}
	var names []string
	for _, l := range s.layers {
		name := sha([]byte(l)) + ".tar"
		files[name] = string(packed(t, s.comp, []byte(l)))
		files[sha([]byte(name))+"/layer.tar"] = linkMark + "../" + name
		names = append(names, name)
	}
	files["manifest.json"] = string(
		mustJSON(t, []jsonObject{{"Config": sha(config) + ".json", "RepoTags": []string{"web:1"},
			"Layers": names}}))
	return files
}

// both makes what docker save writes since version 25: a layout with manifest.json beside it.
func (s *imageSpec) both(t *testing.T) map[string]string {
	t.Helper()
	files := s.layout(t)
	var names []string
	for _, l := range s.layers {
		names = append(names, "blobs/sha256/"+sha(packed(t, s.comp, []byte(l))))
	}
	files["manifest.json"] = string(
		mustJSON(t, []jsonObject{{"Config": "blobs/sha256/" + sha(s.configuration(t)), "Layers": names}}))
	return files
}

func writeFolder(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func tarOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}
		if target, ok := strings.CutPrefix(files[name], linkMark); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		err := w.WriteHeader(&h)
		if err == nil && h.Typeflag != tar.TypeSymlink {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// filesOf reads a store back, a directory or an archive.
func filesOf(t *testing.T, name string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		paths, _ := filepath.Glob(filepath.Join(name, "*"))
		blobs, _ := filepath.Glob(filepath.Join(name, "blobs", "sha256", "*"))
		for _, p := range append(paths, blobs...) {
			if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() {
				rel, _ := filepath.Rel(name, p)
				files[filepath.ToSlash(rel)] = read(t, p)
			}
		}
		return files
	}
	data := read(t, name)
	r, err := packing([]byte(data)).read(strings.NewReader(data), zstdWindow)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(tr)
		if h.Typeflag == tar.TypeSymlink {
			data = []byte(linkMark + h.Linkname)
		}
		files[h.Name] = string(data)
	}
}

// verified follows every digest of an image as a reader of the specification would, and gives the layers unpacked and
// the note.
func verified(t *testing.T, files map[string]string) (layers []string, note any) {
	t.Helper()
	decode := func(name string, v any) {
		data, ok := files[name]
		if err := json.Unmarshal([]byte(data), v); err != nil || !ok {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var config struct {
		Unknown string
		Config  struct{ Labels map[string]any }
		RootFS  struct {
			Type    string
			DiffIDs []string `json:"diff_ids"`
		}
	}
	var names []string
	if _, ok := files["oci-layout"]; ok {
		var index struct{ Manifests []descriptor }
		decode("index.json", &index)
		if ref := index.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; len(
			index.Manifests) != 1 || ref != "latest" {
			t.Errorf("index %+v", index)
		}
		var manifest struct {
			Config      descriptor
			Layers      []descriptor
			Annotations map[string]any
		}
		decode(index.Manifests[0].check(t, files), &manifest)
		if manifest.Annotations["io.kubernetes.cri-o.annotations.checkpoint.name"] != "web" {
			t.Errorf("manifest %+v", manifest)
		}
		note = manifest.Annotations[provenanceKey]
		decode(manifest.Config.check(t, files), &config)
		for _, l := range manifest.Layers {
			names = append(names, l.check(t, files))
		}
	}
	if _, ok := files["manifest.json"]; ok {
		var saved []struct {
			Config string
			Layers []string
		}
		decode("manifest.json", &saved)
		decode(saved[0].Config, &config)
		if base := strings.TrimSuffix(path.Base(saved[0].Config),
			".json"); base != sha([]byte(files[saved[0].Config])) {
			t.Errorf("%s has digest %s", saved[0].Config, sha([]byte(files[saved[0].Config])))
		}
		if names != nil && !slices.Equal(names, saved[0].Layers) {
			t.Errorf("manifest.json has %v, the manifest %v", saved[0].Layers, names)
		}
		if names == nil {
			names, note = saved[0].Layers, config.Config.Labels[provenanceKey]
		}
	}
	if config.Unknown != "<&>" || config.RootFS.Type != "layers" || config.Config.Labels["a"] != "b" ||
		len(config.RootFS.DiffIDs) != len(names) {
		t.Errorf("configuration %+v", config)
	}
	for i, name := range names {
		r, err := packing([]byte(files[name])).read(strings.NewReader(files[name]), zstdWindow)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || "sha256:"+sha(data) != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %s unpacks to %s, %v; want %s", name, sha(data), err, config.RootFS.DiffIDs[i])
		}
		layers = append(layers, string(data))
	}
	for name, data := range files {
		if target, ok := strings.CutPrefix(data, linkMark); ok &&
			!slices.Contains(names, path.Join(path.Dir(name), target)) {
			t.Errorf("%s leads to %s, which is not a layer", name, target)
		}
	}
	return layers, note
}

type descriptor struct {
	Digest      string
	Size        int
	Annotations map[string]string
}

func (d descriptor) check(t *testing.T, files map[string]string) string {
	t.Helper()
	name := "blobs/sha256/" + strings.TrimPrefix(d.Digest, "sha256:")
	if data, ok := files[name]; !ok || "sha256:"+sha([]byte(data)) != d.Digest || len(data) != d.Size {
		t.Errorf("%s: there %v, %d bytes with digest %s; want %+v", name, ok, len(data), sha([]byte(data)), d)
	}
	return name
}

// place writes a store as an archive packed with comp, or as a directory.
func place(t *testing.T, name, form string, files map[string]string) {
	t.Helper()
	if form == "directory" {
		writeFolder(t, name, files)
		return
	}
	comp := plain
	for _, c := range compressions {
		if c.name == form {
			comp = c
		}
	}
	if err := os.WriteFile(name, packed(t, comp, []byte(tarOf(t, files))), 0o640); err != nil {
		t.Fatal(err)
	}
}

// Each kind of image, there and back: every digest is right, and nothing but the checkpoint's layer and what names it
// changes.
func TestCheckpointImages(t *testing.T) {
	dir := sample(t, "glibc")
	base := tarOf(t, map[string]string{"etc/os-release": "x", "checkpoints/a": "not below checkpoint/"})
	layers := []string{base, string(checkpointTar(t, dir)), tarOf(t, map[string]string{"config.json": "{}"})}
	for _, c := range []struct {
		name, form string
		make       func(*imageSpec, *testing.T) map[string]string
		comp       compression
		layers     []string
	}{
		{"layout", "directory", (*imageSpec).layout, compressions[0], layers},
		{"layout of one layer", "directory", (*imageSpec).layout, plain, layers[1:2]},
		{"archive", "tar", (*imageSpec).layout, compressions[1], layers},
		{"packed archive", "gzip", (*imageSpec).layout, plain, layers},
		{"podman save", "tar", (*imageSpec).saved, plain, layers},
		{"podman save, packed", "zstd", (*imageSpec).saved, compressions[0], layers[1:2]},
		{"docker save", "tar", (*imageSpec).both, plain, layers},
		{"docker save, unpacked", "directory", (*imageSpec).saved, plain, layers[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			in, out, back := filepath.Join(folder, "in"), filepath.Join(folder, "out"),
				filepath.Join(folder, "back")
			files := c.make(&imageSpec{layers: c.layers, comp: c.comp}, t)
			if c.form == "directory" {
				maps.DeleteFunc(files, func(_, data string) bool {
					return strings.HasPrefix(data, linkMark)
				})
			}
			place(t, in, c.form, files)
			if _, err := Archive(t.Context(), in, out, options(t)); err != nil {
				t.Fatal(err)
			}
			if err := RemoveArchive(t.Context(), out, back, Limits{}); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(filesOf(t, in), files) {
				t.Error("the input has changed")
			}
			grafted, note := verified(t, filesOf(t, out))
			wantGrafted(t, c.layers, grafted, note)
			if left, note := verified(t, filesOf(t, back)); note != nil || len(left) != len(c.layers) {
				t.Errorf("after --remove: note %v, %d layers", note, len(left))
			}
			if got, want := len(filesOf(t, out)), len(files); got != want {
				t.Errorf("%d files, want %d", got, want)
			}
			compareImages(t, in, dir)
			compareImages(t, back, dir)
			if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func wantGrafted(t *testing.T, was, is []string, note any) {
	t.Helper()
	for i := range was {
		if checkpoint := strings.Contains(was[i], "inventory.img"); (was[i] == is[i]) == checkpoint ||
			strings.Contains(is[i], ProvenanceFile) != checkpoint {
			t.Errorf("layer %d: the same %v, has the checkpoint %v", i, was[i] == is[i], checkpoint)
		}
	}
	var p Provenance
	text, _ := note.(string)
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Tool != "test" || len(p.Plugins) != 1 ||
		p.Plugins[0].Name != "plugin" {
		t.Errorf("note %v: %v", note, err)
	}
}

// Images that are not what they say give an error that names the place, and no output.
func TestHostileImages(t *testing.T) {
	layer := string(checkpointTar(t, sample(t, "static")))
	good := func() *imageSpec { return &imageSpec{layers: []string{layer}, comp: plain} }
	of := func(change func(*imageSpec)) map[string]string {
		s := good()
		change(s)
		return s.layout(t)
	}
	with := func(files map[string]string, change func(map[string]string)) map[string]string {
		change(files)
		return files
	}
	blob := func(files map[string]string, has string) string { // the name of the document with this text
		for name, data := range files {
			if strings.HasPrefix(name, "blobs/") && strings.Contains(data, has) && len(data) < 10000 {
				return name
			}
		}
		return ""
	}
	descriptorOf := func(d any) jsonObject { return d.([]jsonObject)[0] }
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"another version", with(good().layout(t), func(f map[string]string) {
			f["oci-layout"] = `{"imageLayoutVersion": "2.0.0"}`
		}),
			`oci-layout: version "2.0.0" is not known here, want 1`},
		{"no index", with(good().layout(t), func(f map[string]string) { delete(f, "index.json") }),
			"open index.json: file does not exist"},
		{"no JSON", with(good().layout(t), func(f map[string]string) { f["index.json"] = "<" }),
			"index.json: invalid character '<'"},
		{"a list", with(good().layout(t), func(f map[string]string) { f["index.json"] = "[]" }),
			"index.json: json: cannot unmarshal array"},
		{"null", with(good().layout(t), func(f map[string]string) { f["index.json"] = "null" }),
			`index.json: it has no "manifests"`},
		{"a large document", with(good().layout(t), func(f map[string]string) {
			f["index.json"] = strings.Repeat(" ", maxDocument+1)
		}),
			"index.json: 4194305 bytes, more than 4194304"},
		{"several images", of(func(s *imageSpec) {
			s.index = func(o jsonObject) {
				o["manifests"] = append(o["manifests"].([]jsonObject), o["manifests"].([]jsonObject)...)
			}
		}), "index.json: it has 2 images, want one; copy one of them out, for example with skopeo copy"},
		{"no image", of(func(s *imageSpec) {
			s.index = func(o jsonObject) { o["manifests"] = []jsonObject{} }
		}), "index.json: it has 0 images, want one"},
		{"an index of indexes", of(func(s *imageSpec) {
			s.index = func(o jsonObject) {
				descriptorOf(o["manifests"])["mediaType"] = "application/vnd.oci.image.index.v1+json"
			}
		}), `index.json: it names a "application/vnd.oci.image.index.v1+json", want one image: application/vnd.oci.image.manifest.v1+json`},
		{"another algorithm", of(func(s *imageSpec) {
			s.index = func(o jsonObject) {
				descriptorOf(o["manifests"])["digest"] = "sha512:" + strings.Repeat("0", 128)
			}
		}), `index.json: descriptor: digest "sha512:00000`},
		{"a path for a digest", of(func(s *imageSpec) {
			s.index = func(o jsonObject) {
				descriptorOf(o["manifests"])["digest"] = "sha256:../../../../../../etc/passwd"
			}
		}), `index.json: descriptor: digest "sha256:../../../../../../etc/passwd": want sha256: and 64 digits`},
		{"a size", of(func(s *imageSpec) {
			s.index = func(o jsonObject) { descriptorOf(o["manifests"])["size"] = 7 }
		}), "but index.json wants 7"},
		{"a negative size", of(func(s *imageSpec) {
			s.manifest = func(o jsonObject) { descriptorOf(o["layers"])["size"] = -1 }
		}), "wants -1"},
		{"a text for a size", of(func(s *imageSpec) {
			s.manifest = func(o jsonObject) { descriptorOf(o["layers"])["size"] = "x" }
		}),
			`descriptor: "size": json: cannot unmarshal string`},
		{"another manifest", with(good().layout(t), func(f map[string]string) {
			f[blob(f, "annotations")] += " "
		}), "but index.json wants "},
		{"another configuration", with(good().layout(t), func(f map[string]string) {
			n := blob(f, "rootfs")
			f[n] = strings.Replace(f[n], "linux", "LINUX", 1)
		}),
			" bytes and digest sha256:"},
		{"another layer", with(good().layout(t), func(f map[string]string) {
			n := "blobs/sha256/" + sha([]byte(layer))
			f[n] = strings.Replace(f[n], "diff", "DIFF", 1)
		}), "layer blobs/sha256/" + sha([]byte(layer)) + ": its digest is sha256:"},
		{"a layer is missing", with(good().layout(t), func(f map[string]string) {
			delete(f, "blobs/sha256/"+sha([]byte(layer)))
		}), "file does not exist"},
		{"another diff_id", of(func(s *imageSpec) {
			s.config = func(o jsonObject) {
				o["rootfs"].(jsonObject)["diff_ids"] = []string{"sha256:" + sha([]byte("x"))}
			}
		}), "unpacked it has the digest sha256:"},
		{"too many diff_ids", of(func(s *imageSpec) {
			s.config = func(o jsonObject) { o["rootfs"].(jsonObject)["diff_ids"] = []string{"a", "b"} }
		}), "2 diff_ids for 1 layers; an image has 1 to 1000 layers"},
		{"no rootfs", of(func(s *imageSpec) { s.config = func(o jsonObject) { delete(o, "rootfs") } }),
			`it has no "rootfs"`},
		{"no layers", of(func(s *imageSpec) { s.layers = nil }), "0 diff_ids for 0 layers"},
		{"no checkpoint", of(func(s *imageSpec) { s.layers = []string{tarOf(t, map[string]string{"a": "b"})} }),
			"no layer has an inventory.img: it is not the image of a checkpoint"},
		{"two checkpoints", of(func(s *imageSpec) {
			s.layers = append(s.layers, tarOf(t, map[string]string{"x/inventory.img": ""}))
		}),
			"it has an inventory.img, and blobs/sha256/" + sha([]byte(layer)) + " as well"},
		{"a whiteout", of(func(s *imageSpec) {
			s.layers = append(s.layers, tarOf(t, map[string]string{".wh.checkpoint": ""}))
		}),
			`".wh.checkpoint" in another layer than inventory.img may change the checkpoint: not supported; make the image of one layer`},
		{"an image in another layer", of(func(s *imageSpec) {
			s.layers = append(s.layers, tarOf(t, map[string]string{"a/../checkpoint/core-1.img": ""}))
		}),
			`"a/../checkpoint/core-1.img" in another layer than inventory.img may change`},
		{"a layer that is no tar", of(func(s *imageSpec) { s.layers = append(s.layers, "hello") }),
			"entry 0: "},
		{"saved, two images", with(good().saved(t), func(f map[string]string) {
			f["manifest.json"] = "[{}, {}]"
		}), "manifest.json: it has 2 images, want one"},
		{"saved, a path", with(good().saved(t), func(f map[string]string) {
			f["manifest.json"] = `[{"Config": "../x", "Layers": []}]`
		}),
			`manifest.json: "../x" is not a name in the archive`},
		{"saved, another path", with(good().saved(t), func(f map[string]string) {
			f["manifest.json"] = `[{"Config": "x", "Layers": ["/etc/passwd"]}]`
		}),
			`manifest.json: "/etc/passwd" is not a name in the archive`},
		{"saved, another configuration", with(good().saved(t), func(f map[string]string) {
			for name := range f {
				if strings.HasSuffix(name, ".json") && name != "manifest.json" {
					f[name] += " "
				}
			}
		}), "its digest is sha256:"},
	} {
		for _, form := range []string{"directory", "tar"} {
			t.Run(c.name+" "+form, func(t *testing.T) {
				folder := t.TempDir()
				in := filepath.Join(folder, "in")
				files := maps.Clone(c.files)
				maps.DeleteFunc(files, func(_, data string) bool {
					return form == "directory" && strings.HasPrefix(data, linkMark)
				})
				place(t, in, form, files)
				wantRefused(t, folder, in, c.want)
			})
		}
	}
}

func wantRefused(t *testing.T, folder, in, want string) {
	t.Helper()
	_, err := Archive(t.Context(), in, filepath.Join(folder, "out"), options(t))
	if err == nil || !strings.HasPrefix(err.Error(), "archive "+in+": ") ||
		!strings.Contains(strings.ReplaceAll(err.Error(), "no such file or directory",
			"file does not exist"), strings.TrimPrefix(want, "open ")) {
		t.Errorf("got %v, want %s", err, want)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// What is not a regular file is not read, in a directory nor in an archive; names that occur twice are refused.
func TestStoresHaveRegularFiles(t *testing.T) {
	s := imageSpec{layers: []string{string(checkpointTar(t, sample(t, "static")))}, comp: plain}
	files := s.layout(t)
	index := files["index.json"]
	t.Run("archive", func(t *testing.T) {
		folder := t.TempDir()
		files := maps.Clone(files)
		files["index.json"] = linkMark + "/etc/passwd"
		place(t, filepath.Join(folder, "in"), "tar", files)
		wantRefused(t, folder, filepath.Join(folder, "in"),
			"index.json: it is a symbolic link, not a regular file")
	})
	t.Run("twice", func(t *testing.T) {
		folder := t.TempDir()
		files := maps.Clone(files)
		files["./index.json"] = index
		place(t, filepath.Join(folder, "in"), "tar", files)
		wantRefused(t, folder, filepath.Join(folder, "in"), `"index.json" occurs twice`)
	})
	t.Run("link out of a layout", func(t *testing.T) {
		folder, other := t.TempDir(), t.TempDir()
		in := filepath.Join(folder, "in")
		writeFolder(t, in, files)
		writeFolder(t, other, map[string]string{"index.json": index})
		os.Remove(filepath.Join(in, "index.json"))
		if err := os.Symlink(filepath.Join(other, "index.json"), filepath.Join(in, "index.json")); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, folder, in, "escapes from parent")
	})
	t.Run("blobs elsewhere in a layout", func(t *testing.T) { // writing through the link would change the input
		folder := t.TempDir()
		in, out := filepath.Join(folder, "in"), filepath.Join(folder, "out")
		writeFolder(t, in, files)
		err := os.Rename(filepath.Join(in, "blobs"), filepath.Join(in, "b"))
		if err == nil {
			err = os.Symlink("b", filepath.Join(in, "blobs"))
		}
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadDir(filepath.Join(in, "b", "sha256"))
		if _, err := Archive(t.Context(), in, out, options(t)); err == nil ||
			!strings.Contains(err.Error(), "write "+out+": ") {
			t.Errorf("got %v", err)
		}
		if after, _ := os.ReadDir(filepath.Join(in, "b", "sha256")); len(after) != len(before) {
			t.Errorf("%d blobs, had %d", len(after), len(before))
		}
	})
	t.Run("a folder of CRIU's images", func(t *testing.T) {
		folder := t.TempDir()
		in := filepath.Join(folder, "in")
		writeFolder(t, in, map[string]string{"inventory.img": ""})
		wantRefused(t, folder, in, "it is a directory without oci-layout; images of CRIU are read with -D")
	})
}

// The limits hold for an archive and the layers in it together.
func TestImageLimits(t *testing.T) {
	layers := []string{tarOf(t, map[string]string{"zeros": strings.Repeat("\x00", 32<<20)}),
		string(checkpointTar(t, sample(t, "static")))}
	s := imageSpec{layers: layers, comp: compressions[0]}
	for _, form := range []string{"directory", "tar"} {
		for _, c := range []struct {
			limits Limits
			want   string
		}{
			{Limits{Size: 33 << 20}, "it has more than 34603008 bytes unpacked"},
			{Limits{Entries: 7}, "it has more than 7 entries"},
			{Limits{Headers: 6 << 10}, "the headers of its entries have more than 6144 bytes"},
		} {
			in := filepath.Join(t.TempDir(), "in")
			place(t, in, form, s.layout(t))
			if err := ReadArchive(in, c.limits, func(fs.FS) error { return nil }); err == nil ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %s", form, err, c.want)
			}
		}
	}
}

// An image is given up when its context ends, and nothing is left.
func TestImageEnds(t *testing.T) {
	s := imageSpec{layers: []string{string(checkpointTar(t, sample(t, "static")))}, comp: plain}
	for _, form := range []string{"directory", "tar"} {
		folder := t.TempDir()
		place(t, filepath.Join(folder, "in"), form, s.layout(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Archive(ctx, filepath.Join(folder, "in"), filepath.Join(folder, "out"),
			options(t)); err == nil {
			t.Errorf("%s: no error", form)
		}
		if entries, _ := os.ReadDir(folder); len(entries) != 1 {
			t.Errorf("%s: left behind: %v", form, entries)
		}
	}
}
