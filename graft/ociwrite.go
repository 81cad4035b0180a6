package graft

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
)

// provenanceKey is the annotation of a manifest, or in an archive of docker save the label of a configuration, that
// says what was grafted: JSON, as Provenance.note makes it.
const provenanceKey = "io.github.crpie.graft"

// replaced is a file of a store that gets new contents, and perhaps a new name: blobs are named by their digests.
type replaced struct {
	old, name string
	contents  *io.SectionReader
}

// edit writes the layer anew into an unnamed file in dir, and every document that names it or leads to it.
func (im *checkpointImage) edit(ctx context.Context, e edit, dir string) (list []replaced, layer *os.File, err error) {
	layer, err = unnamed(dir)
	if err != nil {
		return nil, nil, err
	}
	d, err := im.writeLayer(ctx, layer, e)
	if err == nil {
		list, err = im.documents(d, layer, e)
	}
	if err != nil {
		return nil, nil, several.Join(err, layer.Close())
	}
	return list, layer, nil
}

// layerDigests are those of a layer packed and unpacked.
type layerDigests struct {
	packed, unpacked digest
	size             int64 // packed
}

// writeLayer packs the layer anew and computes both digests on the way: the manifest has the packed one, the
// configuration the other (OCI image specification, config.md, rootfs).
func (im *checkpointImage) writeLayer(ctx context.Context, out *os.File, e edit) (d layerDigests, err error) {
	packed, unpacked := sha256.New(), sha256.New()
	w, err := im.comp.write(io.MultiWriter(endingWriter{ctx, out}, packed))
	if err != nil {
		return d, err
	}
	if err := several.Join(im.layer.write(io.MultiWriter(w, unpacked), e), w.Close()); err != nil {
		return d, err
	}
	info, err := out.Stat()
	if err != nil {
		return d, err
	}
	sum := func(b []byte) digest { return digest(fmt.Sprintf("%x", b)) }
	return layerDigests{sum(packed.Sum(nil)), sum(unpacked.Sum(nil)), info.Size()}, nil
}

// documents changes the configuration, the manifest and the index, in this order: each names the one before.
func (im *checkpointImage) documents(d layerDigests, layer *os.File, e edit) (list []replaced, err error) {
	put := func(old string, was, now digest, r io.ReaderAt, size int64) string {
		name := old
		if isHex(string(was)) {
			name = strings.Replace(old, string(was), string(now), 1)
		}
		list = append(list, replaced{old, name, io.NewSectionReader(r, 0, size)})
		return name
	}
	document := func(old string, o any) (name string, now digest, size int64) {
		data := compactJSON(o)
		now = newDigest(data)
		was := digest(strings.TrimSuffix(path.Base(old), ".json"))
		return put(old, was, now, bytes.NewReader(data), int64(len(data))), now, int64(len(data))
	}
	oldLayer := im.paths.layers[im.which]
	was := strings.TrimSuffix(path.Base(oldLayer), ".tar")
	now := d.unpacked // what docker save names a layer by
	if im.index != nil {
		now = d.packed
	}
	layerName := put(oldLayer, digest(was), now, layer, d.size)
	if err := im.editConfig(d, e); err != nil {
		return nil, err
	}
	configName, config, size := document(im.paths.config, im.config)
	if im.index != nil {
		if err := im.editManifest(d, config, size, e); err != nil {
			return nil, err
		}
		_, manifest, size := document(im.paths.manifest, im.manifest)
		if err := im.editIndex(manifest, size); err != nil {
			return nil, err
		}
		document(indexFile, im.index)
	}
	if im.saved != nil {
		if err := im.editSaved(oldLayer, layerName, configName); err != nil {
			return nil, err
		}
		document(manifestFile, im.saved)
	}
	return list, nil
}

// editConfig names the new layer in the configuration; what was done to it is a label there if no index can say it.
func (im *checkpointImage) editConfig(d layerDigests, e edit) error {
	var rootfs object
	if err := im.config.get("rootfs", &rootfs); err != nil {
		return err
	}
	im.diffIDs[im.which] = d.unpacked.String()
	rootfs.set("diff_ids", im.diffIDs)
	im.config.set("rootfs", rootfs)
	if im.index != nil {
		return nil
	}
	settings := object{}
	if err := im.config.optional("config", &settings); err != nil {
		return err
	}
	if err := settings.annotate("Labels", e.note); err != nil {
		return err
	}
	im.config.set("config", settings)
	return nil
}

// editManifest names the new configuration and layer in the manifest.
func (im *checkpointImage) editManifest(d layerDigests, config digest, size int64, e edit) error {
	var descriptor object
	var layers []object
	if err := several.Join(im.manifest.get("config", &descriptor), im.manifest.get("layers", &layers)); err != nil {
		return err
	}
	descriptor.describe(config, size)
	layers[im.which].describe(d.packed, d.size)
	im.manifest.set("config", descriptor)
	im.manifest.set("layers", layers)
	return im.manifest.annotate("annotations", e.note)
}

// editIndex names the new manifest in the index.
func (im *checkpointImage) editIndex(manifest digest, size int64) error {
	descriptor, err := im.onlyManifest()
	if err != nil {
		return err
	}
	descriptor.describe(manifest, size)
	im.index.set("manifests", []object{descriptor})
	return nil
}

// editSaved names layer and configuration in the manifest.json of docker save, which has paths instead of digests.
func (im *checkpointImage) editSaved(oldLayer, newLayer, config string) error {
	var layers []string
	if err := im.saved[0].get("Layers", &layers); err != nil {
		return fmt.Errorf("%s: %w", manifestFile, err)
	}
	for i := range layers {
		if layers[i] == oldLayer {
			layers[i] = newLayer
		}
	}
	im.saved[0].set("Layers", layers)
	im.saved[0].set("Config", config)
	return nil
}

// describe changes a descriptor; its data member would be the old contents.
func (o object) describe(d digest, size int64) {
	o.set("digest", d.String())
	o.set("size", size)
	delete(o, "data")
}

// annotate sets or removes the provenance among the texts that a member holds.
func (o object) annotate(member, note string) error {
	texts := object{}
	if err := o.optional(member, &texts); err != nil {
		return err
	}
	delete(texts, provenanceKey)
	if note != "" {
		texts.set(provenanceKey, note)
	}
	if len(texts) == 0 {
		delete(o, member)
		return nil
	}
	o.set(member, texts)
	return nil
}

// optional is get for a member that need not be there, or is null.
func (o object) optional(name string, v *object) error {
	if _, ok := o[name]; !ok {
		return nil
	}
	if err := o.get(name, v); err != nil {
		return err
	}
	if *v == nil {
		*v = object{}
	}
	return nil
}

// compactJSON encodes what came from JSON, which cannot fail.
func compactJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

// note is the annotation for a provenance: what a cluster can read of an image that it has not fetched.
func (p *Provenance) note() string {
	type plugin struct {
		Name   string   `json:"name"`
		SHA256 string   `json:"sha256"`
		Params []string `json:"params,omitempty"`
		Hooks  []string `json:"hooks"`
	}
	var plugins []plugin
	for _, g := range p.Plugins {
		plugins = append(plugins, plugin{g.Name, g.SHA256, g.Params, g.Hooks})
	}
	return string(compactJSON(struct {
		SchemaVersion int      `json:"schema_version"`
		Tool          string   `json:"tool"`
		Plugins       []plugin `json:"plugins"`
	}{p.SchemaVersion, p.Tool, plugins}))
}

// writeImage copies an archive with an image; entries that stay are the same bit by bit.
func (s *tarStore) writeImage(w io.Writer, list []replaced) error {
	edits := tarEdits{map[string]*replaced{}, map[string]bool{}}
	for i := range list {
		edits.old[path.Clean(list[i].old)], edits.now[path.Clean(list[i].name)] = &list[i], true
	}
	for i := range s.entries {
		if err := s.writeImageEntry(w, &s.entries[i], edits); err != nil {
			return err
		}
	}
	_, err := io.Copy(w, io.NewSectionReader(s.file, s.end, 1<<62))
	return err
}

// tarEdits are replaced entries by their old names, and the new names.
type tarEdits struct {
	old map[string]*replaced
	now map[string]bool
}

// writeImageEntry copies an entry of the image's archive, or writes what replaces it in its place.
func (s *tarStore) writeImageEntry(w io.Writer, e *tarEntry, edits tarEdits) error {
	h, name := *e.Header, path.Clean(e.Name)
	if r := edits.old[name]; r != nil {
		h.Name, h.Size = r.name, r.contents.Size()
		return writeEntry(w, &h, r.contents)
	}
	if edits.now[name] {
		return nil // a blob that nothing named
	}
	// older tools find a layer through ID/layer.tar, a link to it
	if r := edits.old[path.Join(path.Dir(name), e.Linkname)]; e.Typeflag == tar.TypeSymlink && r != nil {
		h.Linkname = path.Join(path.Dir(e.Linkname), path.Base(r.name))
		return writeEntry(w, &h, nil)
	}
	_, err := io.Copy(w, io.NewSectionReader(s.file, e.start, e.end-e.start))
	return err
}

// writeEntry writes one entry and its padding. It does not close the writer, which would end the archive with two zero
// blocks, tar(5).
func writeEntry(w io.Writer, h *tar.Header, contents *io.SectionReader) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if contents != nil {
		if _, err := io.Copy(tw, contents); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// writeImage makes a directory from one with an image: files that stay are hard links, or copies.
func (d dirStore) writeImage(ctx context.Context, tmp string, list []replaced) error {
	written := map[string]bool{}
	for _, r := range list {
		written[path.Clean(r.old)] = true
	}
	if err := takeOver(ctx, d.root, tmp, written, false); err != nil {
		return err
	}
	root, err := os.OpenRoot(tmp) // a link in it leads nowhere else
	if err != nil {
		return err
	}
	defer root.Close()
	for i := range list {
		if err := d.writeReplaced(ctx, root, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeReplaced writes a new blob with the attributes of the one that it replaces.
func (d dirStore) writeReplaced(ctx context.Context, to *os.Root, r *replaced) error {
	like, err := d.root.Stat(r.old)
	if err != nil {
		return err
	}
	if err := to.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) { // a blob that nothing named
		return err
	}
	w, err := to.OpenFile(r.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(endingWriter{ctx, w}, r.contents)
	if err = several.Join(err, w.Close()); err != nil {
		return err
	}
	return makeAlike(filepath.Join(to.Name(), r.name), like)
}

// layout opens a directory with an image; nil if name is not a directory.
func layout(name string) (*dirStore, error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return nil, err
	}
	root, err := files.OpenDir(name)
	if err != nil {
		return nil, err
	}
	d := &dirStore{root}
	if !isImage(d) {
		err := fmt.Errorf("%s: it is a directory without %s; images of CRIU are read with -D", name, layoutFile)
		return nil, several.Join(err, root.Close())
	}
	return d, nil
}
