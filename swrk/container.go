package swrk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/files"
)

// maxJSON bounds what a runtime tells of a container, bytes.
const maxJSON = 16 << 20

// Annotations in which kubelet's runtimes and podman keep names and images.
var (
	nameKeys = []string{"io.kubernetes.cri.container-name", "io.kubernetes.cri-o.ContainerName",
		"io.kubernetes.cri-o.Name", "io.kubernetes.container.name"}
	imageKeys = []string{"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName",
		"io.kubernetes.cri-o.Image",
		"org.opencontainers.image.base.name"}
)

// describe finds out which container a request is about: from its bundle, in which runc and crun start criu, from the
// name of its state directory, and from podman's storage. What is not there is not known; what cannot be read is an
// error, because a rule may ask for it.
func describe(opts *pb.CriuOpts) (*container, error) {
	bundle, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	c := &container{annotations: map[string]string{}, names: some(identity(opts.GetRoot(), bundle))}
	var spec struct{ Annotations map[string]string }
	if err := readJSON("config.json", &spec); err != nil {
		return nil, err
	}
	for k, v := range spec.Annotations {
		c.annotations[k] = v
	}
	for _, k := range nameKeys {
		c.names = append(c.names, some(spec.Annotations[k])...)
	}
	for _, k := range imageKeys {
		c.images = append(c.images, some(spec.Annotations[k])...)
	}
	return c, c.addStored(bundle)
}

// userdata is the name of bundles of podman and CRI-O: STORAGE/ID/userdata.
const userdata = "userdata"

// identity takes the id from the root that the runtime has made: STATE/ID/criu-root is runc's, BUNDLE/criu-root crun's.
func identity(root, bundle string) string {
	dir := filepath.Dir(root)
	if dir == bundle && filepath.Base(dir) == userdata {
		dir = filepath.Dir(dir)
	}
	if root == "" {
		return ""
	}
	return filepath.Base(dir)
}

// stored is what containers/storage keeps of a container; podman tells its runtime neither its name nor its image.
type stored struct {
	ID       string
	Names    []string
	Metadata string // JSON, podman's own
}

// addStored looks a container of podman's up in the list beside its directory.
func (c *container) addStored(bundle string) error {
	if filepath.Base(bundle) != userdata {
		return nil
	}
	dir := filepath.Dir(bundle)
	var all []stored
	if err := readJSON(filepath.Join(filepath.Dir(dir), "containers.json"), &all); err != nil {
		return err
	}
	for _, s := range all {
		if s.ID != filepath.Base(dir) {
			continue
		}
		c.names = append(c.names, s.Names...)
		var meta struct {
			Image string `json:"image-name"`
		}
		if json.Unmarshal([]byte(s.Metadata), &meta) == nil { // another program's may be of another form
			c.images = append(c.images, some(meta.Image)...)
		}
	}
	return nil
}

// some is a list of one, or none.
func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// readJSON reads a file if it is there.
func readJSON(name string, into any) error {
	r, info, err := files.OpenRegular(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if info.Size() > maxJSON {
		return fmt.Errorf("%s: larger than %d bytes", name, maxJSON)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxJSON))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
