package graft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/several"
)

// A checkpoint image is a container image of which one layer is a checkpoint, as podman container checkpoint
// --create-image, buildah, checkpointctl build and CRI-O make it. The documents are those of the OCI image
// specification 1.1 (index, manifest, configuration), and manifest.json of docker save. Members that are not known here
// stay as they are.
type checkpointImage struct {
	store    store
	index    object // of an OCI layout; nil in an archive of docker save
	manifest object
	config   object
	saved    []object // manifest.json; nil if there is none
	paths    imagePaths
	diffIDs  []string

	which int // layer with the checkpoint
	layer *tarball
	comp  compression
}

// imagePaths says where the documents and layers lie.
type imagePaths struct {
	manifest, config string
	layers           []string
}

// object is a JSON object. Its names are compared exactly, as the specification requires.
type object map[string]json.RawMessage

// get decodes a member that has to be there.
func (o object) get(name string, v any) error {
	raw, ok := o[name]
	if !ok {
		return fmt.Errorf("it has no %q", name)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

func (o object) set(name string, v any) { o[name] = compactJSON(v) }

const (
	layoutFile   = "oci-layout"
	indexFile    = "index.json"
	manifestFile = "manifest.json" // of docker save
	maxDocument  = 4 << 20         // bytes; what registries take, OCI distribution specification 1.1
	maxLayers    = 1000
)

// isImage reports whether a store has an image.
func isImage(s store) bool { return has(s, layoutFile) || has(s, manifestFile) }

// readImage reads an image, checks every digest that it names, and unpacks the layer with the checkpoint into a file in
// dir.
func readImage(ctx context.Context, s store, dir string, budget *budget) (*checkpointImage, error) {
	im := &checkpointImage{store: s}
	read := im.readSaved
	if has(s, layoutFile) {
		read = im.readLayout
	}
	descriptors, err := read()
	if err != nil {
		return nil, err
	}
	return im, im.readLayers(ctx, descriptors, dir, budget)
}

// readLayout reads what index.json leads to, and manifest.json if docker has put one beside it.
func (im *checkpointImage) readLayout() (layers []object, err error) {
	layout, err := readDocument[object](im.store, layoutFile)
	if err != nil {
		return nil, err
	}
	version := ""
	if err := layout.get("imageLayoutVersion", &version); err != nil || !strings.HasPrefix(version, "1.") {
		return nil, several.Join(fmt.Errorf("%s: version %q is not known here, want 1", layoutFile, version),
			err)
	}
	if im.index, err = readDocument[object](im.store, indexFile); err != nil {
		return nil, err
	}
	one, err := im.onlyManifest()
	if err != nil {
		return nil, err
	}
	if im.manifest, im.paths.manifest, err = im.blob(one, indexFile); err != nil {
		return nil, err
	}
	if layers, err = im.readManifest(); err != nil || !has(im.store, manifestFile) {
		return layers, err
	}
	im.saved, err = im.onlySaved()
	return layers, err
}

// onlyManifest is the descriptor of the only image.
func (im *checkpointImage) onlyManifest() (object, error) {
	var manifests []object
	if err := im.index.get("manifests", &manifests); err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("%s: it has %d images, want one; copy one of them out, for example with skopeo copy",
			indexFile, len(manifests))
	}
	kind := ""
	if err := manifests[0].get("mediaType", &kind); err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	if !slices.Contains(manifestTypes, kind) {
		return nil, fmt.Errorf("%s: it names a %.100q, want one image: %s", indexFile, kind, manifestTypes[0])
	}
	return manifests[0], nil
}

// What an image's manifest is called, by the OCI and by docker.
var manifestTypes = []string{
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
}

// readManifest reads the configuration, and gives the descriptors of the layers.
func (im *checkpointImage) readManifest() (layers []object, err error) {
	var config object
	if err := several.Join(im.manifest.get("config", &config), im.manifest.get("layers", &layers)); err != nil {
		return nil, fmt.Errorf("%s: %w", im.paths.manifest, err)
	}
	if im.config, im.paths.config, err = im.blob(config, im.paths.manifest); err != nil {
		return nil, err
	}
	for _, l := range layers {
		d, _, err := described(l, im.paths.manifest)
		if err != nil {
			return nil, err
		}
		im.paths.layers = append(im.paths.layers, d.path())
	}
	return layers, nil
}

// described reads a descriptor, which is in the document where.
func described(o object, where string) (d digest, size int64, err error) {
	name := ""
	if err = several.Join(o.get("digest", &name), o.get("size", &size)); err == nil {
		d, err = parseDigest(name)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s: descriptor: %w", where, err)
	}
	return d, size, nil
}

// blob reads the document that a descriptor in the document where names.
func (im *checkpointImage) blob(descriptor object, where string) (o object, at string, err error) {
	d, size, err := described(descriptor, where)
	if err != nil {
		return nil, "", err
	}
	data, err := readText(im.store, d.path())
	if err != nil {
		return nil, "", err
	}
	if got := newDigest(data); got != d || int64(len(data)) != size {
		return nil, "", fmt.Errorf("%s: it has %d bytes and digest %v, but %s wants %d",
			d.path(), len(data), got, where, size)
	}
	return o, d.path(), unmarshal(d.path(), data, &o)
}

// readSaved reads what manifest.json leads to.
func (im *checkpointImage) readSaved() (layers []object, err error) {
	if im.saved, err = im.onlySaved(); err != nil {
		return nil, err
	}
	p := &im.paths
	if err := several.Join(im.saved[0].get("Config", &p.config), im.saved[0].get("Layers", &p.layers)); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	for _, name := range append([]string{p.config}, p.layers...) {
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("%s: %.100q is not a name in the archive", manifestFile, name)
		}
	}
	data, err := readText(im.store, p.config)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(path.Base(p.config), ".json")
	if got := newDigest(data); isHex(name) && string(got) != name {
		return nil, fmt.Errorf("%s: its digest is %v", p.config, got)
	}
	return make([]object, len(p.layers)), unmarshal(p.config, data, &im.config)
}

// onlySaved returns the manifest of docker save, of one image.
func (im *checkpointImage) onlySaved() ([]object, error) {
	saved, err := readDocument[[]object](im.store, manifestFile)
	if err == nil && len(saved) != 1 {
		err = fmt.Errorf("%s: it has %d images, want one; save one of them alone", manifestFile, len(saved))
	}
	return saved, err
}

// readLayers checks every layer; the one with inventory.img stays open.
func (im *checkpointImage) readLayers(ctx context.Context, descriptors []object, dir string, b *budget) error {
	var rootfs object
	err := im.config.get("rootfs", &rootfs)
	if err == nil {
		err = rootfs.get("diff_ids", &im.diffIDs)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", im.paths.config, err)
	}
	if n := len(im.paths.layers); n != len(im.diffIDs) || n == 0 || n > maxLayers {
		return fmt.Errorf("%s: %d diff_ids for %d layers; an image has 1 to %d layers",
			im.paths.config, len(im.diffIDs), n, maxLayers)
	}
	var others []*tarball
	for i := range im.paths.layers {
		t, comp, err := im.readLayer(ctx, i, descriptors[i], dir, b)
		if err == nil && t.hasInventory() {
			err = im.found(i, t, comp)
		} else if err == nil {
			others = append(others, t)
			err = t.file.Close()
		}
		if err != nil {
			return several.Join(fmt.Errorf("layer %s: %w", im.paths.layers[i], err), im.close())
		}
	}
	if im.layer == nil {
		return errors.New("no layer has an inventory.img: it is not the image of a checkpoint")
	}
	return im.checkOthers(others)
}

// found notes the layer with the checkpoint.
func (im *checkpointImage) found(i int, t *tarball, comp compression) error {
	if im.layer != nil {
		return several.Join(fmt.Errorf("it has an inventory.img, and %s as well", im.paths.layers[im.which]),
			t.file.Close())
	}
	im.which, im.layer, im.comp = i, t, comp
	return t.findImages()
}

// checkOthers refuses layers that change images of the checkpoint, or take them away.
func (im *checkpointImage) checkOthers(others []*tarball) error {
	for _, t := range others {
		for i := range t.entries {
			name := path.Clean("/" + t.entries[i].Name)
			// OCI image specification, layer.md: whiteouts
			hides := strings.HasPrefix(path.Base(name), ".wh.")
			below := im.layer.prefix != "." && strings.HasPrefix(name, "/"+im.layer.prefix+"/")
			if below || hides || im.layer.prefix == "." && im.layer.images[name[1:]] != nil {
				return several.Join(fmt.Errorf(
					"%q in another layer than inventory.img may change the checkpoint: "+
						"not supported; make the image of one layer",
					t.entries[i].Name), im.close())
			}
		}
	}
	return nil
}

// readLayer unpacks a layer and compares its digests. A descriptor is nil in an archive of docker save.
func (im *checkpointImage) readLayer(ctx context.Context, i int, descriptor object, dir string, b *budget) (
	*tarball, compression, error,
) {
	want, err := parseDigest(im.diffIDs[i])
	if err != nil {
		return nil, plain, err
	}
	from, err := im.store.open(im.paths.layers[i])
	if err != nil {
		return nil, plain, err
	}
	defer from.Close()
	if err := checkBlob(ctx, from, descriptor, im.paths.manifest); err != nil {
		return nil, plain, err
	}
	t, comp, err := spend(ctx, from, dir, b)
	if err != nil {
		return nil, plain, err
	}
	got, err := hashOf(endingReader{ctx, io.NewSectionReader(t.file, 0, 1<<62)})
	if err == nil && got != want {
		err = fmt.Errorf("unpacked it has the digest %v, but the configuration wants %v", got, want)
	}
	if err != nil {
		return nil, plain, several.Join(err, t.file.Close())
	}
	return t, comp, nil
}

// checkBlob compares a layer with its descriptor.
func checkBlob(ctx context.Context, from *stored, descriptor object, where string) error {
	if descriptor == nil {
		return nil
	}
	want, size, err := described(descriptor, where)
	if err != nil {
		return err
	}
	if from.Size() != size {
		return fmt.Errorf("it has %d bytes, but %s wants %d", from.Size(), where, size)
	}
	got, err := hashOf(endingReader{ctx, io.NewSectionReader(from, 0, size)})
	if err == nil && got != want {
		err = fmt.Errorf("its digest is %v", got)
	}
	return err
}

func (im *checkpointImage) close() error {
	if im.layer == nil {
		return nil
	}
	return im.layer.file.Close()
}

// endingReader fails when ctx has ended.
type endingReader struct {
	ctx context.Context
	r   io.Reader
}

func (e endingReader) Read(b []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.r.Read(b)
}

// budget counts what the limits still allow: they hold for an archive and all layers in it together.
type budget struct{ all, left Limits }

// spend unpacks one of the tars of an image.
func spend(ctx context.Context, from io.Reader, dir string, b *budget) (*tarball, compression, error) {
	tmp, err := unnamed(dir)
	if err != nil {
		return nil, plain, err
	}
	t, comp, err := unpack(endingReader{ctx, from}, tmp, b.left)
	if limit := (*LimitError)(nil); errors.As(err, &limit) {
		err = b.all.exceeded(limit.Name)
	}
	if err != nil {
		return nil, comp, several.Join(err, tmp.Close())
	}
	info, err := tmp.Stat()
	if err != nil {
		return nil, comp, several.Join(err, tmp.Close())
	}
	b.left = Limits{b.left.Size - info.Size(), b.left.Entries - len(t.entries), b.left.Headers - t.headers}
	return t, comp, nil
}

func (l Limits) exceeded(name string) error {
	return &LimitError{name, map[string]int64{"size": l.Size, "entries": int64(l.Entries),
		"headers": l.Headers}[name]}
}

// readDocument reads a JSON document without checking a digest.
func readDocument[T any](s store, name string) (v T, err error) {
	data, err := readText(s, name)
	if err != nil {
		return v, err
	}
	return v, unmarshal(name, data, &v)
}

// readText reads a document.
func readText(s store, name string) ([]byte, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > maxDocument {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", name, f.Size(), maxDocument)
	}
	return io.ReadAll(f)
}

func unmarshal(name string, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
