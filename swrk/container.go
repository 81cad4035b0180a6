package swrk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// describe finds out which container a request is about: from its bundle, in which runc and crun start criu, and from
// the name of its state directory. What is not there is not known; what cannot be read is an error, because a rule may
// ask for it.
func describe(opts *pb.CriuOpts) (*container, error) {
	c := &container{annotations: map[string]string{}}
	if root := opts.GetRoot(); root != "" { // STATE/ID/criu-root
		c.names = append(c.names, filepath.Base(filepath.Dir(root)))
	}
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
	return c, nil
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
