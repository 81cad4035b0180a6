//go:build linux && amd64

package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// podman makes an image of a checkpoint; each form in which it leaves podman is grafted, and restored under an
// identity of its own. skopeo, which checks every digest, takes what was written.
func TestGraftPodmanImage(t *testing.T) {
	testenv.NeedTool(t, "skopeo")
	c := newPodmanContainer(t)
	c.podman("container", "checkpoint", "--create-image", "localhost/checkpoint:1", "first")
	c.podman("rm", "first")
	forms := []struct{ format, transport, id string }{
		{"oci-archive", "oci-archive", "a-clone"}, {"oci-dir", "oci", "another"},
		{"docker-archive", "docker-archive", "one-more"},
	}
	for _, f := range forms {
		c.podman("save", "--format", f.format, "--output", filepath.Join(c.dir, f.format),
			"localhost/checkpoint:1")
	}
	for _, f := range forms {
		t.Run(f.format, func(t *testing.T) {
			c := *c
			c.t = t
			saved, grafted := filepath.Join(c.dir, f.format), filepath.Join(c.dir, f.format+"-grafted")
			plugin := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
			status, out := told(t, "graft", "--archive", saved, "-o", grafted, "--pie-plugin",
				plugin+",var=INSTANCE_ID,value="+f.id)
			if status != 0 {
				t.Fatal(out)
			}
			if status, out := told(t, "inspect", "--archive", grafted); status != 0 ||
				!strings.Contains(out, "plugin new-id (new-id.o, ") {
				t.Errorf("status %d\n%s", status, out)
			}
			c.wantNoted(f.transport + ":" + grafted)
			c.must(exec.Command("skopeo", "copy", f.transport+":"+grafted, "oci:"+saved+"-copy"))
			image := c.load(grafted)
			if f.format == "docker-archive" {
				return // it has no annotations, and so podman does not know it for a checkpoint
			}
			c.podman("container", "restore", "--name", f.format, image)
			c.wantIDAt(c.mounted(f.format), f.id)
		})
	}
}

// wantNoted wants the provenance where skopeo reads it: the annotations, or in an archive of docker save the labels.
func (c *container) wantNoted(image string) {
	c.t.Helper()
	var annotated struct{ Annotations map[string]string }
	var labelled struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(c.skopeo("inspect", "--raw", image)), &annotated); err != nil {
		c.t.Error(err)
	}
	if err := json.Unmarshal([]byte(c.skopeo("inspect", image)), &labelled); err != nil {
		c.t.Error(err)
	}
	note := annotated.Annotations["io.github.crpie.graft"] + labelled.Labels["io.github.crpie.graft"]
	if !strings.Contains(note, `"plugins":[{"name":"new-id"`) {
		c.t.Errorf("annotations %v, labels %v", annotated.Annotations, labelled.Labels)
	}
}

func (c *container) skopeo(args ...string) string {
	c.t.Helper()
	out, err := exec.Command("skopeo", args...).Output()
	if err != nil {
		c.t.Fatalf("skopeo %v: %v", args, err)
	}
	return string(out)
}

// load gives the name of an image that podman takes.
func (c *container) load(image string) string {
	c.t.Helper()
	said := c.podman("load", "--input", image)
	return said[strings.LastIndexByte(said, ' ')+1:]
}
